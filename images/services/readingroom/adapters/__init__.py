"""One file per outside system; no other file imports its library."""
