"""One session with an engine and a load, and the frames it publishes. Importing the package loads no gRPC."""
