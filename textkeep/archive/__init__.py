"""The vault: texts, shelves, keyring, sealing, slices, activity."""
