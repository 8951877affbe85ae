"""A server that answers every request at once with a constant reply, for measurements of the load generator itself.

`python -m console.load.null_server BATCH DIM` prints its address as one JSON line and serves until standard input ends.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc

from console.load.event_loop import new_event_loop
from engine.api import embed_pb2

_SERVICE = "embed.v1.Embedder"
_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0))
_TIMINGS = embed_pb2.StageTimings(queue_ms=0.01, tokenize_ms=0.01, infer_ms=0.01, serialize_ms=0.01)
_DEPLOYMENT = embed_pb2.Deployment(backend="null", precision="fp32", device="cpu", instances=1, threads=1)


def _reply(batch: int, dim: int) -> embed_pb2.EmbedResponse:
    return embed_pb2.EmbedResponse(
        vectors=bytes(batch * dim * 4),
        count=batch,
        dim=dim,
        epoch=1,
        deployment=_DEPLOYMENT,
        timings=_TIMINGS,
        token_counts=[12] * batch,
        truncated=[False] * batch,
    )


def handlers(batch: int, dim: int) -> grpc.GenericRpcHandler:
    """Returns handlers of Embed, Similarity and EmbedStream for requests of `batch`. Unary requests are not parsed."""
    reply = _reply(batch, dim)
    embedded = reply.SerializeToString()
    scored = embed_pb2.SimilarityResponse(
        scores=[0.5] * batch, epoch=1, deployment=_DEPLOYMENT, timings=_TIMINGS
    ).SerializeToString()
    streamed = embed_pb2.StreamResponse(response=reply).SerializeToString()

    async def embed(_request: bytes, _context: Any) -> bytes:
        return embedded

    async def similarity(_request: bytes, _context: Any) -> bytes:
        return scored

    async def embed_stream(requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            number = embed_pb2.StreamRequest.FromString(request).id
            yield embed_pb2.StreamResponse(id=number).SerializeToString() + streamed  # concatenation merges messages

    return grpc.method_handlers_generic_handler(
        _SERVICE,
        {
            "Embed": grpc.unary_unary_rpc_method_handler(embed),
            "Similarity": grpc.unary_unary_rpc_method_handler(similarity),
            "EmbedStream": grpc.stream_stream_rpc_method_handler(embed_stream),
        },
    )


async def start_server(batch: int, dim: int) -> tuple[grpc.aio.Server, str]:
    """Starts a server; returns it and its address."""
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((handlers(batch, dim),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, f"127.0.0.1:{port}"


async def _serve(batch: int, dim: int) -> None:
    server, address = await start_server(batch, dim)
    print(json.dumps({"event": "ready", "address": address}), flush=True)
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    await stdin.read()
    await server.stop(0)


def main() -> None:
    """Serves until standard input ends."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(int(sys.argv[1]), int(sys.argv[2])))


if __name__ == "__main__":
    main()
