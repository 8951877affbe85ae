"""Returns freed memory to the operating system after a model is closed."""

import ctypes
import gc
import sys


def release_memory() -> None:
    """Collects garbage and, on glibc, trims the heap. Without it the process keeps freed weights after a switch."""
    gc.collect()
    if not sys.platform.startswith("linux"):
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # absent on musl
    if trim is not None:
        trim(0)
