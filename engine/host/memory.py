"""Returns freed memory to the operating system, after a model is closed or large messages are answered."""

import ctypes
import gc
import sys


def release_memory() -> None:
    """Collects garbage and, on glibc, trims the heap. Without it the process keeps freed weights after a switch."""
    gc.collect()
    trim_heap()


def trim_heap() -> None:
    """Returns the free pages of the heap to the operating system, on glibc. Takes milliseconds; releases the GIL."""
    if not sys.platform.startswith("linux"):
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # absent on musl
    if trim is not None:
        trim(0)
