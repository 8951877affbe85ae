"""The event loop of the load generator's processes: uvloop if it is installed."""

import asyncio


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Returns a new event loop."""
    try:
        import uvloop
    except ImportError:  # not available on every platform
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
