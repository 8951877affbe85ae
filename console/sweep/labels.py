"""Short names of a sweep point's load."""

from console.sweep.cell import SweepCell


def load_of(cell: SweepCell) -> str:
    """`32 × 4`, and every knob that the cell turns."""
    load = cell.run.load
    rate = load.rate
    shape = f"{cell.target.instances or 'auto'} × {cell.target.threads or 'auto'} threads"
    parts = (
        f"{load.batch} at {rate:g}/s" if rate else f"{load.batch} × {load.concurrency}",
        load.workload if load.workload != "texts" else "",
        load.corpus if load.corpus != "short" else "",
        "stream" if load.stream else "",
        {None: "", True: "coalescing", False: "no coalescing"}[cell.coalesce],
        f"{cell.max_batch_tokens} tokens" if cell.max_batch_tokens is not None else "",
        f"wait {cell.max_wait_ms:g} ms" if cell.max_wait_ms is not None else "",
        shape if cell.target.instances or cell.target.threads else "",
        f"repeat {cell.repeat + 1}" if cell.repeat else "",
    )
    return ", ".join(part for part in parts if part)
