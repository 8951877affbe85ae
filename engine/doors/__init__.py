"""The protocols that the engine answers: one folder each, thin, on `engine.pipeline`."""
