"""Short names of a sweep point's load, and of the settings that a sweep fixes and inherits."""

from collections.abc import Sequence

from console.model.engine import DOWN, Engine, EngineSpec
from console.sweep.point import SweepPoint


def load_of(point: SweepPoint) -> str:
    """Returns batch × concurrency, for example `32 × 4`, and every setting that the point changes."""
    load = point.run.load
    rate = load.rate
    shape = f"{point.target.instances or 'auto'} × {point.target.threads or 'auto'} threads"
    parts = (
        f"{load.batch} at {rate:g}/s" if rate else f"{load.batch} × {load.concurrency}",
        load.workload if load.workload != "texts" else "",
        load.corpus if load.corpus != "short" else "",
        "stream" if load.stream else "",
        {None: "", True: "coalescing", False: "no coalescing"}[point.coalesce],
        f"{point.max_batch_tokens} tokens" if point.max_batch_tokens is not None else "",
        f"wait {point.max_wait_ms:g} ms" if point.max_wait_ms is not None else "",
        shape if point.target.instances or point.target.threads else "",
        f"repeat {point.repeat + 1}" if point.repeat else "",
    )
    return ", ".join(part for part in parts if part)


def inherited_settings(points: Sequence[SweepPoint]) -> tuple[str, ...]:
    """Returns the settings that some point takes from the engine before the sweep, by the fields of Deployment."""
    names = ("backend", "precision", "model", "device")
    return tuple(name for name in names if any(not getattr(point.target, name) for point in points))


def inherited_text(points: Sequence[SweepPoint], engine: Engine, options: EngineSpec) -> str:
    """Returns the inherited settings with their values, for example `model all-MiniLM-L6-v2, device cpu`.

    The values are those of the serving engine, else of the options of its next start; an empty option is the engine's
    own choice.
    """
    found = engine.requested if engine.state not in DOWN and engine.requested.cell else options
    model = engine.model.id or found.model
    values = {"backend": found.backend, "precision": found.precision, "model": model, "device": found.device}
    names = inherited_settings(points)
    return ", ".join(f"{name} {values[name].rpartition('/')[2] or 'auto'}" for name in names)


def knobs_of(point: SweepPoint) -> str:
    """Returns every batching setting of a point in words, also those that it does not name."""
    tokens = point.max_batch_tokens
    return ", ".join(
        (
            "coalescing off" if point.coalesce is False else "coalescing on",
            f"wait {point.max_wait_ms:g} ms" if point.max_wait_ms else "no wait",
            "batch bounds of the serving plan" if tokens is None else f"at most {tokens:,} tokens a batch",
        )
    )


def knobs_text(points: Sequence[SweepPoint]) -> str:
    """Returns the values of the batching settings that some point does not name; empty if every point names all."""
    names = {
        "coalesce": "coalescing on",
        "max_wait_ms": "no wait",
        "max_batch_tokens": "batch bounds of the serving plan",
    }
    return ", ".join(text for name, text in names.items() if any(getattr(point, name) is None for point in points))
