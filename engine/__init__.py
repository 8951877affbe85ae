"""The embedding inference engine: a gRPC server, its batching scheduler and its backends."""

__version__ = "0.1.0"
