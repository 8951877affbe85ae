"""The rule table: what a platform makes of a cell, and the one sentence that says so everywhere.

Rows are read from the top and the first that matches decides. A row matches where all that it names is so; what it
leaves out does not matter. Sources: the runtimes' own documentation and what they did when run (benchmarks/cells.py).
"""

from dataclasses import dataclass
from enum import StrEnum


class CellState(StrEnum):
    """How a cell of the matrix stands on a platform."""

    NATIVE = "native"
    SLOW = "slow"
    FALLS_BACK = "falls_back"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table. Alternatives are separated by `|`; `*` is anything; devices are cpu, cuda, mps."""

    cell: str
    """`backend precision device`"""
    state: CellState
    code: str = ""
    reason: str = ""
    """May use {backend} {precision} {device}; {instead} and {to}: what runs, and its precision; {needs} and {extra}:
    what to install."""
    fix: str = ""
    instead: str = ""
    """`backend precision device` where the cell falls back; `=` keeps what was asked."""
    recipe: str = "*"
    machine: str = "* *"
    """`system arch`"""
    lacks: str = ""
    """Only where this package is missing."""
    version: tuple[str, str] = ("", "")
    """Only where this package's version contains that."""
    without_isa: tuple[str, ...] = ()
    """Only where the processor has none of these."""
    below_capability: float = 0.0
    """Only on GPUs of a lower compute capability."""
    built: bool | None = None
    """Only for cells that have a recipe, or that have none."""
    lacks_needs: bool = False
    """Only where each of the cell's recipes lacks a package that it needs."""


EXTRAS = {
    "torch": "torch", "onnxruntime": "", "openvino": "openvino", "nncf": "openvino", "bitsandbytes": "quantize",
    "torchao": "quantize",
}  # fmt: skip
"""The extra of this project that installs a package; empty: the project's own dependency."""


def requirement(package: str) -> str:
    """What to pip install for a package."""
    extra = EXTRAS.get(package)
    return package if extra is None else f"'embedconsole[{extra}]'" if extra else "embedconsole"


_NO, _SLOW, _BACK, _OK = CellState.UNAVAILABLE, CellState.SLOW, CellState.FALLS_BACK, CellState.NATIVE
_X86_BF16 = ("avx512_bf16", "amx_bf16")
_X86_INT8 = ("avx512_vnni", "avx_vnni", "amx_int8")
_X86_FP16 = ("avx512_fp16", "amx_fp16")

RULES: tuple[Rule, ...] = (
    # -- what a machine cannot have ---------------------------------------------------------------------------
    Rule("torch * *", _NO, "no_build", "torch publishes nothing newer than 2.2 for Intel Macs, and 2.13 is needed",
         "run the engine on another machine: embedconsole --connect HOST:PORT", machine="macos x86_64"),
    Rule("onnx|openvino * *", _NO, "no_build",
         "{backend} models are prepared with torch, which publishes nothing newer than 2.2 for Intel Macs",
         "run the engine on another machine: embedconsole --connect HOST:PORT", machine="macos x86_64"),
    Rule("openvino * cuda|mps", _NO, "unsupported_device", "openvino does not run on {device}",
         "use --device cpu, or --backend torch"),
    Rule("* tf32|fp8 cpu|mps", _BACK, "unsupported_precision",
         "{precision} exists on CUDA GPUs alone: running {instead} instead", instead="= fp32 ="),
    # -- what is not installed --------------------------------------------------------------------------------
    Rule("torch * *", _NO, "missing_package", "torch is not installed", "pip install 'embedconsole[torch]'",
         lacks="torch"),
    Rule("torch * cuda", _NO, "missing_package", "the installed torch is built for CPUs alone",
         "pip install torch --index-url https://download.pytorch.org/whl/cu130", version=("torch", "+cpu")),
    Rule("onnx * *", _NO, "missing_package", "onnxruntime is not installed", "pip install onnxruntime",
         lacks="onnxruntime"),
    Rule("openvino * *", _NO, "missing_package", "openvino is not installed", "pip install 'embedconsole[openvino]'",
         lacks="openvino"),
    Rule("* * *", _NO, "missing_package", "{backend} {precision} needs {needs}, which is not installed",
         "pip install {extra}", lacks_needs=True),
    # -- Apple's GPU ------------------------------------------------------------------------------------------
    Rule("torch int8|int4 mps", _BACK, "unsupported_precision",
         "{precision} is not supported on MPS: fell back to {to}", instead="= fp16 ="),
    Rule("torch bf16 mps", _BACK, "not_built", "{precision} is not built for MPS: fell back to {to}",
         instead="= fp16 =", built=False),
    Rule("onnx int8|int4 mps", _BACK, "unsupported_precision",
         "CoreML runs no {precision} graphs of ONNX Runtime: running {instead} instead", instead="= = cpu"),
    Rule("onnx * mps", _BACK, "not_built",
         "{backend} {precision} on CoreML is not built: running {instead} instead", instead="torch = =", built=False),
    # -- NVIDIA's GPUs, by compute capability -----------------------------------------------------------------
    Rule("torch fp8 cuda", _BACK, "unsupported_precision",
         "fp8 needs compute capability 8.9 (Ada, Hopper) and this GPU has less: running {instead} instead",
         instead="= fp16 =", below_capability=8.9),
    Rule("torch bf16 cuda", _BACK, "unsupported_precision",
         "bf16 needs compute capability 8.0 (Ampere) and this GPU has less: running {instead} instead",
         instead="= fp16 =", below_capability=8.0),
    Rule("torch tf32 cuda", _BACK, "unsupported_precision",
         "tf32 needs compute capability 8.0 (Ampere) and this GPU has less: running {instead} instead",
         instead="= fp32 =", below_capability=8.0),
    Rule("torch fp16 cuda", _SLOW, "slow", "fp16 has no tensor cores below compute capability 7.0: about as fast as "
         "fp32, and half the memory", below_capability=7.0, built=True),
    Rule("torch int8|fp8 cuda", _SLOW, "slow", "{precision} runs through torchao, which quantises every input as it "
         "comes: on short texts several times slower than fp16", "use fp16 or bf16", recipe="torchao"),
    Rule("torch int4 cuda", _SLOW, "slow", "4-bit weights are widened before each product: slower than fp16, for "
         "memory rather than speed", "use fp16 or bf16", recipe="nf4"),
    Rule("onnx * cuda", _BACK, "not_built", "onnx on CUDA is not built: running {instead} instead",
         instead="torch = ="),
    # -- processors, by instruction set -----------------------------------------------------------------------
    Rule("torch bf16 cpu", _SLOW, "slow", "this processor has no bf16 instructions (AVX512_BF16 or AMX): bf16 is "
         "emulated and several times slower than fp32", "use fp32 or int8", machine="* x86_64",
         without_isa=_X86_BF16, built=True),
    Rule("torch bf16 cpu", _SLOW, "slow", "this processor has no bf16 instructions: bf16 is emulated and slower than "
         "fp32", "use fp32 or int8", machine="* arm64", without_isa=("bf16",), built=True),
    Rule("torch fp16 cpu", _SLOW, "slow", "this processor has no fp16 arithmetic (AVX512_FP16 or AMX): fp16 is "
         "several times slower than fp32", "use fp32, bf16 or int8", machine="* x86_64", without_isa=_X86_FP16,
         built=True),
    Rule("torch fp16 cpu", _SLOW, "slow", "this processor has no fp16 arithmetic: fp16 is slower than fp32",
         "use fp32, bf16 or int8", machine="* arm64", without_isa=("fp16",), built=True),
    Rule("torch int8 cpu", _SLOW, "slow", "this processor has no VNNI: torchao's int8 is a hundred times slower than "
         "fp32", "use another recipe", recipe="torchao", machine="* x86_64", without_isa=_X86_INT8),
    Rule("torch int8 cpu", _SLOW, "slow", "this processor has no int8 dot product: int8 runs through qnnpack, for "
         "memory rather than speed", machine="* arm64", without_isa=("dotprod", "i8mm"), built=True),
    Rule("openvino int8 cpu", _SLOW, "slow", "this processor has no VNNI: OpenVINO's int8 is slower than its fp32 "
         "here, for memory rather than speed", "use --backend onnx with int8", recipe="static", machine="* x86_64",
         without_isa=_X86_INT8),
    Rule("onnx bf16 cpu", _BACK, "unsupported_precision",
         "ONNX Runtime has no bf16 kernels for CPUs: running {instead} instead", "use --backend torch or openvino",
         instead="= fp32 =", built=False),
    Rule("onnx fp16 cpu", _BACK, "unsupported_precision",
         "ONNX Runtime computes fp16 graphs in fp32 on this processor: running {instead} instead",
         instead="= fp32 =", built=False),
    Rule("openvino bf16 cpu", _BACK, "unsupported_precision",
         "this processor has no bf16 instructions and OpenVINO emulates none: running {instead} instead",
         instead="= fp32 =", machine="* x86_64", without_isa=(*_X86_BF16, "avx512f")),
    Rule("openvino bf16 cpu", _SLOW, "slow", "this processor has no bf16 instructions (AVX512_BF16 or AMX): bf16 is "
         "emulated", "use fp32 or int8", machine="* x86_64", without_isa=_X86_BF16, built=True),
    Rule("openvino bf16 cpu", _BACK, "unsupported_precision",
         "OpenVINO has no bf16 on ARM: running {instead} instead", "use --precision int8", instead="= fp32 =",
         machine="* arm64"),
    Rule("openvino fp16 cpu", _BACK, "unsupported_precision",
         "OpenVINO computes fp16 in fp32 on this processor: running {instead} instead", "use --precision int8",
         instead="= fp32 =", machine="* x86_64", built=False),
    # -- what nobody has built, and what simply runs ----------------------------------------------------------
    Rule("* fp32 *", _BACK, "not_built",
         "{backend} fp32 on {device} is not built yet: running {instead} instead", instead="torch fp32 cpu",
         built=False),
    Rule("* * *", _BACK, "not_built",
         "{backend} {precision} on {device} is not built yet: running {instead} instead", instead="= fp32 =",
         built=False),
    Rule("* * *", _OK),
)  # fmt: skip
