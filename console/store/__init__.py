"""The store of runs: one SQLite file, its schema, reading and writing, selectors, and spill files."""
