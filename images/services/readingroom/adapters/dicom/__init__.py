"""DICOM: the only place that imports pydicom, and it does so for its tables and its pixel decoders.

Files are read by our own walker (`prescan`) and written by our own writer (`write`); `verify` reads what was written with
a third piece of code that shares nothing with the other two.
"""
