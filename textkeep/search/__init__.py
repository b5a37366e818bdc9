"""Finding: words, tokens, queries, the follower and the finder."""
