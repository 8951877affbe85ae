"""The protocols through which screens use the store and sweeps, and their implementations."""
