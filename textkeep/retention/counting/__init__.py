"""Counting: what came in, what is there, and whether that is the same, as sets of leaves."""
