"""Organisations, locations, users and their numbers over time."""
