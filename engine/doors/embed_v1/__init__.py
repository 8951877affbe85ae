"""The gRPC services of `embed.v1`: Embedder and Control."""
