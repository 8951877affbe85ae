"""What others may use of the engine: the generated wire types, options of a channel, and the async client."""

from engine.api.channel import channel_options
from engine.api.embed.v1 import embed_pb2, embed_pb2_grpc

__all__ = ["channel_options", "embed_pb2", "embed_pb2_grpc"]
