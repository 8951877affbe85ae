"""What the screens may ask of the store and of sweeps, and the implementation behind it."""
