"""The protocols of the engine: one folder each, a thin layer over `engine.pipeline`."""
