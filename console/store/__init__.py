"""The store of runs: one SQLite file, its schema, and how runs are selected in it."""
