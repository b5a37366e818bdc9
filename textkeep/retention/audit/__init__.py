"""The audit: everything that is on record, computed anew from what is there."""
