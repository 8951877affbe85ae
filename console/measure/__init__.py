"""Measuring one run: load, certification, recording, and the search for the highest load."""
