"""The content of each part of the screen: pure functions from a frame to styled text."""
