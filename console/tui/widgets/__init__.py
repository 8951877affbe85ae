"""The widgets: they draw ink and know nothing of sessions."""
