"""What crosses the pipe to a child: one JSON object a line each way. Standard library only, for it runs everywhere."""

import base64
import json
import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

INFINITY_MODEL = "bench"
"""What infinity serves the model as."""


@dataclass(frozen=True, slots=True)
class Order:
    """One workload to run: `window_s` measured after `warm_s`."""

    corpus: str
    batch: int
    concurrency: int
    warm_s: float
    window_s: float
    answers_a_caller: int = 2
    """Fewer make no rate, so a window stretches until there are so many; 0 keeps to `window_s`."""
    address: str = ""
    """Of the server, for a client that loads several in turn; empty: the one that it was started for."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a client saw. Latencies are None where callers' requests are not told apart or nothing was answered."""

    texts_per_s: float | None
    all_texts: int
    """Warm-up and rest included: what the server's CPU time was spent on."""
    requests: int
    """Within the window."""
    p50_ms: float | None
    p95_ms: float | None
    client_cpu_s: float
    errors: dict[str, int] = field(default_factory=dict)


def corpora_of(path: Path) -> dict[str, list[str]]:
    """The texts that the parent wrote for all."""
    found: dict[str, list[str]] = json.loads(path.read_text("utf-8"))
    return found


def packed(rows: Iterable[Sequence[float]]) -> str:
    """Rows of floats as base64 of little-endian float32, row after row."""
    values = array("f")
    for row in rows:
        values.extend(row)
    if sys.byteorder == "big":
        values.byteswap()
    return base64.b64encode(values.tobytes()).decode("ascii")


def serve(vectors: Callable[[list[str]], str], load: Callable[[Order], Measured]) -> None:
    """Says that it is ready, then answers `{"vectors": [texts]}` and `{"load": Order}` until end of file.

    `vectors` answers packed(). An exception is answered as `{"error": …}`; the child lives on.
    """
    answers = sys.stdout
    sys.stdout = sys.stderr  # a library's print must not break the pipe's words
    _say(answers, {"ready": True})
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if "vectors" in order:
                _say(answers, {"vectors": vectors(order["vectors"])})
            else:
                _say(answers, {"load": asdict(load(Order(**order["load"])))})
        except Exception as error:  # the parent decides what a failed turn means
            _say(answers, {"error": f"{type(error).__name__}: {error}"[:500]})


def _say(answers: Any, answer: dict[str, Any]) -> None:
    print(json.dumps(answer), file=answers, flush=True)
