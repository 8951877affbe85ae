"""Instruction sets of this processor that determine how a graph is quantised."""

import platform
from functools import cache
from pathlib import Path

_EXACT_FLAGS = frozenset(("avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"))


@cache
def int8_products_saturate() -> bool:
    """Returns whether int8 kernels saturate: x86 without VNNI adds pairs of products in 16 bits.

    vpmaddubsw clips such sums, so weights may use only seven of their eight bits there. Other processors accumulate
    in 32 bits.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:  # not Linux; seven bits are correct on every processor
        return True
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return _EXACT_FLAGS.isdisjoint(flags)
