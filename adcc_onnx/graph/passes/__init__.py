"""Rewriting passes: one change to a whole graph per file, and `prepare`, which applies most."""
