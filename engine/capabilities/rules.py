"""The rule table: the state of each cell on a platform, and the sentence that explains it.

Rules apply from the top; the first one that matches decides. A rule matches if all of its conditions hold. Sources: the
documentation of the runtimes, and measurements (benchmarks/cells.py).
"""

from dataclasses import dataclass
from enum import StrEnum


class CellState(StrEnum):
    """The state of a cell on a platform."""

    NATIVE = "native"
    SLOW = "slow"
    FALLS_BACK = "falls_back"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table. `|` separates alternatives; `*` matches anything; devices are cpu, cuda and mps."""

    cell: str
    """`backend precision device`"""
    state: CellState
    code: str = ""
    reason: str = ""
    """The sentence. It may use {backend}, {precision}, {device}; {instead} and {to}, the cell that runs and its
    precision; {needs} and {extra}, the missing packages and what to install."""
    fix: str = ""
    instead: str = ""
    """The fallback as `backend precision device`; `=` keeps the value of the cell."""
    recipe: str = "*"
    machine: str = "* *"
    """`system arch`"""
    lacks: str = ""
    """Only if this package is missing."""
    version: tuple[str, str] = ("", "")
    """(package, text): only if the version of the package contains the text."""
    without_isa: tuple[str, ...] = ()
    """Only if the processor has none of these instruction sets."""
    below_capability: float = 0.0
    """Only on GPUs of a lower compute capability."""
    built: bool | None = None
    """True: only for cells with a recipe; False: only for cells without one."""
    lacks_needs: bool = False
    """Only if every recipe of the cell lacks a package that it needs."""


EXTRAS = {
    "torch": "torch", "onnxruntime": "", "openvino": "openvino", "nncf": "openvino", "bitsandbytes": "quantize",
    "torchao": "quantize",
}  # fmt: skip
"""The extra of this project that installs a package; empty: a dependency of the project itself."""


def requirement(package: str) -> str:
    """Returns what to pip install for a package."""
    extra = EXTRAS.get(package)
    return package if extra is None else f"'embedconsole[{extra}]'" if extra else "embedconsole"


_NO, _SLOW, _BACK, _OK = CellState.UNAVAILABLE, CellState.SLOW, CellState.FALLS_BACK, CellState.NATIVE
_X86_BF16 = ("avx512_bf16", "amx_bf16")
_X86_INT8 = ("avx512_vnni", "avx_vnni", "amx_int8")
_X86_FP16 = ("avx512_fp16", "amx_fp16")

RULES: tuple[Rule, ...] = (
    # -- what does not exist for a platform ----------------------------------------------------------------------
    Rule("torch * *", _NO, "no_build", "torch publishes nothing newer than 2.2 for Intel Macs, and 2.13 is needed",
         "run the engine on another machine: embedconsole --connect HOST:PORT", machine="macos x86_64"),
    Rule("onnx|openvino * *", _NO, "no_build",
         "{backend} models are prepared with torch, which publishes nothing newer than 2.2 for Intel Macs",
         "run the engine on another machine: embedconsole --connect HOST:PORT", machine="macos x86_64"),
    Rule("openvino * cuda|mps", _NO, "unsupported_device", "openvino does not run on {device}",
         "use --device cpu, or --backend torch"),
    Rule("* tf32|fp8 cpu|mps", _BACK, "unsupported_precision",
         "{precision} exists only on CUDA GPUs: running {instead} instead", instead="= fp32 ="),
    # -- what is not installed --------------------------------------------------------------------------------
    Rule("torch * *", _NO, "missing_package", "torch is not installed", "pip install 'embedconsole[torch]'",
         lacks="torch"),
    Rule("torch * cuda", _NO, "missing_package", "the installed torch is built for the CPU only",
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
         "CoreML does not run {precision} graphs of ONNX Runtime: running {instead} instead", instead="= = cpu"),
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
         "fp32, with half the memory", below_capability=7.0, built=True),
    Rule("torch int8|fp8 cuda", _SLOW, "slow", "{precision} runs through torchao, which quantises each input at run "
         "time: several times slower than fp16 on short texts", "use fp16 or bf16", recipe="torchao"),
    Rule("torch int4 cuda", _SLOW, "slow", "4-bit weights are dequantised before each product: saves memory, but "
         "slower than fp16", "use fp16 or bf16", recipe="nf4"),
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
    Rule("torch int8 cpu", _SLOW, "slow", "this processor has no VNNI: torchao int8 is a hundred times slower than "
         "fp32", "use another recipe", recipe="torchao", machine="* x86_64", without_isa=_X86_INT8),
    Rule("torch int8 cpu", _SLOW, "slow", "this processor has no int8 dot product: int8 runs through QNNPACK, saves "
         "memory, but not time", machine="* arm64", without_isa=("dotprod", "i8mm"), built=True),
    Rule("openvino int8 cpu", _SLOW, "slow", "this processor has no VNNI: OpenVINO int8 saves memory, but is "
         "slower than fp32", "use --backend onnx with int8", recipe="static", machine="* x86_64",
         without_isa=_X86_INT8),
    Rule("onnx bf16 cpu", _BACK, "unsupported_precision",
         "ONNX Runtime has no bf16 kernels for CPUs: running {instead} instead", "use --backend torch or openvino",
         instead="= fp32 =", built=False),
    Rule("onnx fp16 cpu", _BACK, "unsupported_precision",
         "ONNX Runtime computes fp16 graphs in fp32 on this processor: running {instead} instead",
         instead="= fp32 =", built=False),
    Rule("openvino bf16 cpu", _BACK, "unsupported_precision",
         "this processor has no bf16 instructions and OpenVINO does not emulate them: running {instead} instead",
         instead="= fp32 =", machine="* x86_64", without_isa=(*_X86_BF16, "avx512f")),
    Rule("openvino bf16 cpu", _SLOW, "slow", "this processor has no bf16 instructions (AVX512_BF16 or AMX): bf16 is "
         "emulated", "use fp32 or int8", machine="* x86_64", without_isa=_X86_BF16, built=True),
    Rule("openvino bf16 cpu", _BACK, "unsupported_precision",
         "OpenVINO has no bf16 on ARM: running {instead} instead", "use --precision int8", instead="= fp32 =",
         machine="* arm64"),
    Rule("openvino fp16 cpu", _BACK, "unsupported_precision",
         "OpenVINO computes fp16 in fp32 on this processor: running {instead} instead", "use --precision int8",
         instead="= fp32 =", machine="* x86_64", built=False),
    # -- cells without a recipe, and cells that run -------------------------------------------------------
    Rule("* fp32 *", _BACK, "not_built",
         "{backend} fp32 on {device} is not built yet: running {instead} instead", instead="torch fp32 cpu",
         built=False),
    Rule("* * *", _BACK, "not_built",
         "{backend} {precision} on {device} is not built yet: running {instead} instead", instead="= fp32 =",
         built=False),
    Rule("* * *", _OK),
)  # fmt: skip
