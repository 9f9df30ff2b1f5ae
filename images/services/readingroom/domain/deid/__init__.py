"""De-identification as pure decisions: what is not listed is not kept, what is not certain is not released.

elements    what was read, as plain values           keys      stand-ins under a project's key
profile     the rules of a run, frozen               values    what a value must be to stay, per VR
decide      one answer for each element              identity  who the patient is, and what must not be seen again
doubt       which pixels nobody vouches for          outcome   released, held or rejected, and why
"""
