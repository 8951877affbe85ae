"""The dialogs that open over a mode."""
