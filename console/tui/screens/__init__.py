"""Live, Log and the dialogs."""
