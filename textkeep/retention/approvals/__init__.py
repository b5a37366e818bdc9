"""Two persons: one asks, another one approves exactly that."""
