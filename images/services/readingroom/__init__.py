"""Reading Room: a trusted research environment for medical imaging."""
