"""Evidence: append-only log, proofs, signed notes, offline verifier."""
