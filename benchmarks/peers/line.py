"""The protocol with a child: JSON lines in both directions. Standard library only, as it runs in every environment."""

import base64
import json
import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

INFINITY_MODEL = "bench"
"""The name of the model in infinity."""


@dataclass(frozen=True, slots=True)
class Order:
    """A workload to run: `window_s` is measured after `warm_s`."""

    corpus: str
    batch: int
    concurrency: int
    warm_s: float
    window_s: float
    answers_a_caller: int = 2
    """Requests that a rate needs; the window is extended until there are as many. 0 disables this."""
    address: str = ""
    """Address of the server, for a client of several servers; empty: the one it was started with."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Figures of a client. Latencies are None if requests are not distinguished or none was answered."""

    texts_per_s: float | None
    all_texts: int
    """Texts including warm-up and the end of the load: those that the server's CPU time was spent on."""
    requests: int
    """Within the window."""
    p50_ms: float | None
    p95_ms: float | None
    client_cpu_s: float
    errors: dict[str, int] = field(default_factory=dict)


def corpora_of(path: Path) -> dict[str, list[str]]:
    """Reads the texts that the parent wrote for all contenders."""
    found: dict[str, list[str]] = json.loads(path.read_text("utf-8"))
    return found


def packed(rows: Iterable[Sequence[float]]) -> str:
    """Encodes rows of floats as base64 of little-endian float32."""
    values = array("f")
    for row in rows:
        values.extend(row)
    if sys.byteorder == "big":
        values.byteswap()
    return base64.b64encode(values.tobytes()).decode("ascii")


def serve(vectors: Callable[[list[str]], str], load: Callable[[Order], Measurement]) -> None:
    """Reports that it is ready, then answers `{"vectors": [texts]}` and `{"load": Order}` until stdin ends.

    `vectors` returns packed(). An exception is reported as `{"error": …}`, and the child continues.
    """
    answers = sys.stdout
    sys.stdout = sys.stderr  # output of libraries must not mix with the protocol
    _say(answers, {"ready": True})
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if "vectors" in order:
                _say(answers, {"vectors": vectors(order["vectors"])})
            else:
                _say(answers, {"load": asdict(load(Order(**order["load"])))})
        except Exception as error:  # the parent handles a failed turn
            _say(answers, {"error": f"{type(error).__name__}: {error}"[:500]})


def _say(answers: Any, answer: dict[str, Any]) -> None:
    print(json.dumps(answer), file=answers, flush=True)
