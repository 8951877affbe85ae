"""The memory of this process: its size, and returning what is free to the operating system."""

import ctypes
import gc
import sys

import psutil


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


def resident_bytes() -> int:
    """Returns the resident memory of this process."""
    return int(psutil.Process().memory_info().rss)
