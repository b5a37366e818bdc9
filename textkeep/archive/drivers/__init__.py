"""Where a keyring's documents lie, and what seals them."""
