"""What a person can do: one registry of actions behind key bindings, palette, help and command lines."""
