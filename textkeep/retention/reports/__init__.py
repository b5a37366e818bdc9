"""What is told of a destruction: its facts, the report as a record and as a page, its chain and its proofs."""
