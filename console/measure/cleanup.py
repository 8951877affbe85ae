"""Cleanup that a cancellation does not interrupt, and a load that stops at the end of a block."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from console.model.load import LoadSpec
from console.session.session import Session

T = TypeVar("T")


async def run_to_completion(coroutine: Coroutine[Any, Any, T]) -> T:
    """Returns the coroutine's result. If the caller is cancelled, the coroutine still finishes before it is cancelled.

    There is no timeout: the coroutine must end by itself.
    """
    task = asyncio.create_task(coroutine)
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
async def running_load(session: Session, spec: LoadSpec) -> AsyncGenerator[None, None]:
    """Runs the load within the block and always stops it afterwards. Raises CommandRefused if it cannot start.

    If cancelled while the load starts, waits for the load generator's reply first, so that no load stays running.
    """
    starting = asyncio.create_task(session.start_load(spec, experiment=True))
    try:
        await asyncio.shield(starting)
        yield
    finally:
        await run_to_completion(_turn_off(session, starting))


async def _turn_off(session: Session, starting: "asyncio.Task[None]") -> None:
    """Stops the load, unless its start was refused: then a running load belongs to another caller."""
    await asyncio.wait({starting})
    refused = not starting.cancelled() and starting.exception() is not None
    if not refused and session.frame.load.running:
        await session.stop_load()
