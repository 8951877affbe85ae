"""The event loop of the driver's processes: uvloop where there is one."""

import asyncio


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A fresh one."""
    try:
        import uvloop
    except ImportError:  # not on every platform
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
