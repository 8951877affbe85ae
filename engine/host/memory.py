"""Giving freed memory back to the operating system after a model is dropped."""

import ctypes
import gc
import sys


def release_memory() -> None:
    """Collects garbage and, on glibc, trims the heap: freed weights otherwise stay in the process after a switch."""
    gc.collect()
    if not sys.platform.startswith("linux"):
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # absent on musl
    if trim is not None:
        trim(0)
