"""The layout of texts in a batch: padded (one text per row) or packed (several texts per row)."""
