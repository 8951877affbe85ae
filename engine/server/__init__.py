"""The gRPC face of the engine: thin servicers, codes, and the life of the process."""
