"""Use-cases, one verb a file; `ports.py` says what they need from the world."""
