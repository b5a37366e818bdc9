"""The purge: eight steps by which a shelf goes, and the one door through which anything is destroyed."""
