"""Runs the backend without a server, which gives the upper limit.

    python -m benchmarks.peers.inside_raw CORPORA CELL INSTANCES THREADS

Texts are tokenized in advance, and instances run batches without a pause. There is no queue, server or response.
"""

import argparse
import json
import threading
import time
from itertools import cycle
from pathlib import Path

from benchmarks.peers.line import Measurement, Order, corpora_of, packed, serve
from benchmarks.peers.loop import Window
from benchmarks.peers.windows import batches, busy_instances
from engine.artifacts.store import ArtifactStore, artifact_key
from engine.backends import backend
from engine.backends.base import Cell
from engine.models.resolve import resolve_model
from engine.models.tokenizer import Tokenizer
from engine.scheduling.contract import Executor


def run(executors: list[Executor], tokens: list[list[int]], order: Order) -> Measurement:
    """Runs every executor in its own thread; each takes the next batch until the window is over."""
    in_flight = order.batch * order.concurrency
    busy = executors[: busy_instances(in_flight, len(executors))]
    turns = cycle(batches(tokens, in_flight, len(executors)))
    window = Window(order, len(busy))
    lock = threading.Lock()

    def work(executor: Executor) -> None:
        while True:
            with lock:
                if window.over:
                    return
                batch = next(turns)
            started_s = time.monotonic()
            executor(batch)
            with lock:
                window.answered(len(batch), started_s)

    threads = [threading.Thread(target=work, args=(executor,)) for executor in busy]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return window.measured(tells_latency=in_flight == 1)


def main() -> None:
    """Serves its parent until stdin ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("cell")
    parser.add_argument("instances", type=int)
    parser.add_argument("threads", type=int)
    asked = parser.parse_args()
    cell, files = Cell(**json.loads(asked.cell)), resolve_model(None)
    tokenizer = Tokenizer.load(files)
    artifact = ArtifactStore.default().path(artifact_key(files, cell))
    model = backend(cell.backend).load(artifact, files.path, cell, asked.threads)
    executors = [model.executor(asked.threads) for _ in range(asked.instances)]
    corpora = {name: [one.ids for one in tokenizer.encode(texts)] for name, texts in corpora_of(asked.corpora).items()}

    def vectors(texts: list[str]) -> str:
        return packed(executors[0]([one.ids]).in_order().unit[0].tolist() for one in tokenizer.encode(texts))

    serve(vectors, lambda order: run(executors, corpora[order.corpus], order))


if __name__ == "__main__":
    main()
