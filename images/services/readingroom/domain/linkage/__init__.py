"""Linkage: which patients of a project are in a partner's table, found so that neither side sees whom the other has.

Three roles: each side makes tokens of its own identifiers under a one-time key, a matcher that lacks the key compares them, and
the project's side opens what matched. Pure. `data.md` section 12, `governance.md` section 14, decision 0910.
"""
