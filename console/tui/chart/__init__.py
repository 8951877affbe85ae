"""Time charts in braille with stable axes, gaps and switch markers: pure functions from points to styled text."""
