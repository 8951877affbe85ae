"""The actions of the user: one registry behind key bindings, palette, help and command forms."""
