"""Doors: they translate what comes in, call one use-case, and set nothing themselves."""
