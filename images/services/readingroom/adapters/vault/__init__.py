"""Vault through hvac, which no other package imports."""
