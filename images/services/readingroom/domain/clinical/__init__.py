"""The clinical record: one cleaned row for each patient, of numbers, codes, shifted dates and truth values. No text survives.

Pure rules over plain values. What the columns are, and how centres write them, is data: `policies/deid/clinical`.
"""
