"""Keeping and destroying: policy, purge, report, schedule."""
