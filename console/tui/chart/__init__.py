"""Time charts in braille: fixed axes, gaps kept as gaps, switch markers. Pure functions from points to ink."""
