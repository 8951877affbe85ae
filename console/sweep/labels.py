"""Short names of a sweep point's load."""

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
