"""Ways in: bytes to texts, what becomes of each, and its receipt."""
