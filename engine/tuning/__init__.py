"""Serving plans: the search that measures instances × threads and batch bounds, and the cache of its results."""
