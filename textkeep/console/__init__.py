"""Pages for officers and auditors. Holds no rules."""
