"""One engine, one transaction(), every table, migrations."""
