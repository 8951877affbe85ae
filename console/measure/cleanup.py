"""What is begun is ended: work that no cancellation cuts short, and a load that is off after its block."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from console.model.load import LoadSpec
from console.session.session import Session

T = TypeVar("T")


async def carry_out(work: Coroutine[Any, Any, T]) -> T:
    """Returns what `work` returns. A caller that is cancelled meanwhile waits for the end and is cancelled then.

    `work` has to end by itself: nothing here bounds its time.
    """
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    raise cancelled from (None if task.cancelled() else task.exception())


@asynccontextmanager
async def loaded(session: Session, spec: LoadSpec) -> AsyncGenerator[None, None]:
    """The load runs within the block and is off after it, whatever happens. Raises CommandRefused when it cannot start.

    Cancelled while the load starts, it waits for the driver's answer first, so that no load begins unseen.
    """
    starting = asyncio.create_task(session.start_load(spec))
    try:
        await asyncio.shield(starting)
        yield
    finally:
        await carry_out(_turn_off(session, starting))


async def _turn_off(session: Session, starting: "asyncio.Task[None]") -> None:
    """A load that was refused is not ours: the one that runs then is somebody else's."""
    await asyncio.wait({starting})
    refused = not starting.cancelled() and starting.exception() is not None
    if not refused and session.frame.load.running:
        await session.stop_load()
