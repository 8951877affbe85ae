"""How texts are laid out in a batch: padded, one a row, or packed, several a row."""
