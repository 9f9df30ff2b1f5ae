"""The synthetic NCCID as pure decisions: who comes, what is made of them, and where their identifiers hide.

stream      chance as a function of a seed             words      invented names, places, numbers of test ranges
centres     who sends, and with which machines         population patients and their studies
plans       files as values, not yet bytes             key        the answer key: what was placed, what must happen
modalities  what each kind of image says of itself     hiding     the table of places where identifiers hide
studies     the files of one study                     objects    documents and structures made from a study
facts       what gives a patient away, in all spellings drawing    letters and bits put over a picture (letters)
packing     how archives compress, what they leave there  score      what a key says of a tool's outputs
clinical    the record beside the images, and its dirt uploads    the tree of one patient, incidents included

Nobody here is real. Every file says so: Synthetic Data (0008,001C) is YES. `data.md` section 13.
"""
