"""Instructions of this processor that decide how a quantised graph must be made."""

import platform
from functools import cache
from pathlib import Path

_EXACT_FLAGS = frozenset(("avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"))


@cache
def int8_products_saturate() -> bool:
    """Whether int8 kernels add pairs of products in 16 bits, where two large ones overflow: x86 without VNNI.

    vpmaddubsw clips such sums, so weights may use seven of their eight bits only there. Others widen first.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:  # no Linux: seven bits are right everywhere
        return True
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return _EXACT_FLAGS.isdisjoint(flags)
