"""Where a search index lies."""
