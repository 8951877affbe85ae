"""What can run here, what is used instead, and why: one rule table over platform facts.

The sentence that a rule writes is the only one there is: log, console, CLI and report all show it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from engine.errors import CannotSwitch, InvalidRequest
from engine.machine import PlatformFacts

BACKENDS = ("torch", "onnx", "openvino")
PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "int8", "int4", "fp8")
GPU_PRECISIONS = frozenset({"tf32", "fp8"})
"""Precisions that exist on CUDA alone: a CPU's matrix does not list them."""


class CellState(StrEnum):
    """How a cell of the matrix stands on a platform."""

    NATIVE = "native"
    SLOW = "slow"
    FALLS_BACK = "falls_back"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something done otherwise than asked: `Warning` on the wire."""

    code: str
    message: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """Backend, precision and device: what a rule is about and what it may put in its place."""

    backend: str
    precision: str
    device: str


@dataclass(frozen=True, slots=True)
class CellReport:
    """One cell of `engine capabilities`."""

    asked: Choice
    state: CellState
    effective: Choice
    code: str = ""
    reason: str = ""
    fix: str = ""
    recipe: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table. `*` matches anything; the first row that matches decides."""

    backend: str
    precision: str
    device: str
    state: CellState
    code: str = ""
    reason: str = ""
    fix: str = ""
    instead: str = ""
    """`backend precision device` where the cell falls back; `=` keeps what was asked."""
    lacks: str = ""
    """Applies only where this package is missing."""


RULES: tuple[Rule, ...] = (
    Rule(
        "torch", "*", "*", CellState.UNAVAILABLE, "missing_package", "torch is not installed",
        "pip install 'embedconsole[torch]'", lacks="torch",
    ),
    Rule(
        "onnx", "*", "*", CellState.UNAVAILABLE, "missing_package", "onnxruntime is not installed",
        "pip install onnxruntime", lacks="onnxruntime",
    ),
    Rule("torch", "fp32", "cpu", CellState.NATIVE),
    Rule("onnx", "fp32", "cpu", CellState.NATIVE),
    Rule(
        "torch", "*", "*", CellState.FALLS_BACK, "not_built",
        "{backend} {precision} on {device} is not built yet: running torch fp32 on cpu instead",
        instead="torch fp32 cpu",
    ),
    Rule(
        "onnx", "*", "*", CellState.FALLS_BACK, "not_built",
        "{backend} {precision} on {device} is not built yet: running onnx fp32 on cpu instead",
        instead="onnx fp32 cpu",
    ),
    Rule(
        "openvino", "*", "*", CellState.FALLS_BACK, "not_built",
        "the openvino backend is not built yet: running onnx fp32 on cpu instead",
        instead="onnx fp32 cpu",
    ),
)  # fmt: skip


def report_cell(asked: Choice, facts: PlatformFacts) -> CellReport:
    """What the table says of one cell."""
    for rule in RULES:
        fields = ((rule.backend, asked.backend), (rule.precision, asked.precision), (rule.device, asked.device))
        if any(pattern not in ("*", value) for pattern, value in fields):
            continue
        if rule.lacks and rule.lacks in facts.packages:
            continue
        words = {"backend": asked.backend, "precision": asked.precision, "device": asked.device}
        effective = Choice(*rule.instead.split()) if rule.instead else asked
        return CellReport(asked, rule.state, effective, rule.code, rule.reason.format(**words), rule.fix)
    return CellReport(asked, CellState.UNAVAILABLE, asked, "unknown_cell", f"no rule covers {asked}")


def matrix(facts: PlatformFacts) -> Iterator[CellReport]:
    """Every cell that makes sense to ask for on this platform, in the order of the tables."""
    for device in facts.devices:
        for backend in BACKENDS:
            for precision in PRECISIONS:
                if device == "cpu" and precision in GPU_PRECISIONS:
                    continue
                if device != "cpu" and backend != "torch":
                    continue
                yield report_cell(Choice(backend, precision, device), facts)


def resolve(asked: Choice, facts: PlatformFacts, *, strict: bool) -> tuple[Choice, Choice, tuple[Notice, ...]]:
    """(requested, effective, notices): `auto` is resolved first and is never a fallback.

    Raises InvalidRequest for words that do not exist and CannotSwitch for a cell that cannot run, or with `strict`
    for one that would fall back.
    """
    requested = _resolve_auto(asked, facts)
    _check_words(requested, facts)
    report = report_cell(requested, facts)
    if report.state is CellState.UNAVAILABLE:
        raise CannotSwitch(f"{_cell(requested)} cannot run here: {report.reason}; {report.fix or 'choose another'}")
    if report.state is CellState.FALLS_BACK and strict:
        raise CannotSwitch(f"{report.reason}; strict was asked, so nothing was changed: ask without it to accept")
    notices = (Notice(report.code, report.reason, report.fix),) if report.state is not CellState.NATIVE else ()
    return requested, report.effective, notices


def _resolve_auto(asked: Choice, facts: PlatformFacts) -> Choice:
    """`auto` takes the fastest cell that is exactly fp32: ONNX Runtime where it is installed, else torch."""
    fastest = "onnx" if "onnxruntime" in facts.packages else "torch"
    return Choice(
        backend=fastest if asked.backend in ("", "auto") else asked.backend,
        precision="fp32" if asked.precision in ("", "auto") else asked.precision,
        device="cpu" if asked.device in ("", "auto") else "cuda:0" if asked.device == "cuda" else asked.device,
    )


def _check_words(choice: Choice, facts: PlatformFacts) -> None:
    for word, value, known in (
        ("backend", choice.backend, BACKENDS),
        ("precision", choice.precision, PRECISIONS),
    ):
        if value not in known:
            raise InvalidRequest(f"unknown {word} {value[:40]!r}: choose one of auto, {', '.join(known)}")
    if choice.device not in ("cpu", "mps") and not _is_cuda(choice.device):
        raise InvalidRequest(f"unknown device {choice.device[:40]!r}: choose one of auto, cpu, cuda:N, mps")
    if choice.device not in facts.devices:
        raise CannotSwitch(
            f"this machine has no device {choice.device}: choose one of auto, {', '.join(facts.devices)}"
        )


def _is_cuda(device: str) -> bool:
    name, _, index = device.partition(":")
    return name == "cuda" and index.isdecimal()


def _cell(choice: Choice) -> str:
    return f"{choice.backend} {choice.precision} on {choice.device}"
