"""A model judged on the hold-out: what is asked, what comes back, and how much of it is told. `governance.md` section 15."""
