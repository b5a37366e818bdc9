"""Benchmarks, each beside its rival in one run. `make bench`."""
