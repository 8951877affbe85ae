"""One run: load, certification, recording; the search for the maximum load; the load generator's ceiling."""
