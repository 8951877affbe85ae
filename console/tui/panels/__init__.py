"""What each part of the screen says: pure functions from a frame to ink."""
