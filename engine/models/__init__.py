"""A model's files: resolving a name, reading its configuration, and tokenizing."""
