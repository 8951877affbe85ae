"""What the engine promises whatever is done to it, each against a real server process."""
