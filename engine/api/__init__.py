"""What others may use of the engine: the generated wire types (`embed_pb2`, `embed_pb2_grpc`) and the async client."""

from engine.api.embed.v1 import embed_pb2, embed_pb2_grpc

__all__ = ["embed_pb2", "embed_pb2_grpc"]
