"""Textkeep: a compliance archive for business text messages."""
