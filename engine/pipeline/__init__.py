"""The pipeline of a request, independent of any protocol, and the engine's metrics."""
