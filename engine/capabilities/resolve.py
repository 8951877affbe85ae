"""The rule table applied to a platform: what can run, what runs instead, and why.

The sentence of a rule is the only wording of its reason: log, console, CLI and report show it as it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from engine.backends.base import Cell
from engine.backends.recipes import Recipe, recipes_of
from engine.capabilities.rules import RULES, CellState, Rule, requirement
from engine.errors import InvalidRequest, NoSuchCell
from engine.host.machine import PlatformFacts

BACKENDS = ("torch", "onnx", "openvino")
PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "int8", "int4", "fp8")
GPU_PRECISIONS = frozenset({"tf32", "fp8"})
"""Precisions that exist only on CUDA GPUs: the matrix of another device leaves them out."""
_MAX_FALLBACKS = 4
"""Consecutive fallbacks after which a rule table that loops is given up."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A difference between what was asked for and what runs; `Warning` on the wire."""

    code: str
    message: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class CellReport:
    """What the rules say of one cell."""

    asked: Cell
    state: CellState
    effective: Cell
    code: str = ""
    reason: str = ""
    fix: str = ""

    @property
    def runs_as_asked(self) -> bool:
        """Whether the cell runs without a fallback."""
        return self.state in (CellState.NATIVE, CellState.SLOW)


def report_cell(asked: Cell, facts: PlatformFacts) -> CellReport:
    """Applies the rules to one cell. `asked` of the report has the recipe that was asked for, or the default one."""
    recipe = _recipe(asked, facts)
    asked = replace(asked, recipe=recipe.name if recipe else "")
    rule = _rule(asked, facts)
    effective = _final_fallback(asked, rule, facts) if rule.state is CellState.FALLS_BACK else asked
    missing = [package for package in (recipe.needs if recipe else ()) if package not in facts.packages]
    words = {
        "backend": asked.backend,
        "precision": asked.precision,
        "device": asked.device,
        "instead": str(effective),
        "to": effective.precision,
        "needs": " and ".join(missing),
        "extra": " ".join(dict.fromkeys(requirement(package) for package in missing)),
    }
    reason, fix = rule.reason.format(**words), rule.fix.format(**words)
    if effective != asked and _rule(effective, facts).state is CellState.UNAVAILABLE:
        other = report_cell(effective, facts)
        return CellReport(asked, CellState.UNAVAILABLE, asked, other.code, f"{reason}, but {other.reason}", other.fix)
    return CellReport(asked, rule.state, effective, rule.code, reason, fix)


def _rule(cell: Cell, facts: PlatformFacts) -> Rule:
    """Returns the first rule that matches; the last rule of the table matches everything."""
    return next(rule for rule in RULES if _applies(rule, cell, facts))


def _final_fallback(asked: Cell, rule: Rule, facts: PlatformFacts) -> Cell:
    """Follows fallbacks until a cell that does not fall back."""
    cell = asked
    for _ in range(_MAX_FALLBACKS):
        words = zip(rule.instead.split(), (cell.backend, cell.precision, cell.device), strict=True)
        backend, precision, device = (own if word == "=" else word for word, own in words)
        cell = Cell(backend=backend, precision=precision, device=device)
        recipe = _recipe(cell, facts)
        cell = replace(cell, recipe=recipe.name if recipe else "")
        rule = _rule(cell, facts)
        if rule.state is not CellState.FALLS_BACK:
            return cell
    raise NoSuchCell(f"{asked} cannot run here, and there is no fallback: choose another backend or precision")


def _recipe(cell: Cell, facts: PlatformFacts) -> Recipe | None:
    """Returns the named recipe; without a name the first whose packages are installed, or else the default one."""
    recipes = recipes_of(cell.backend, cell.precision, cell.device)
    if cell.recipe:
        return next((recipe for recipe in recipes if recipe.name == cell.recipe), None)
    usable = (recipe for recipe in recipes if _has_needs(recipe, facts))
    return next(usable, recipes[0] if recipes else None)


def _has_needs(recipe: Recipe, facts: PlatformFacts) -> bool:
    return all(package in facts.packages for package in recipe.needs)


def _applies(rule: Rule, asked: Cell, facts: PlatformFacts) -> bool:
    device = asked.device.partition(":")[0]
    words = (asked.backend, asked.precision, device, asked.recipe, facts.system, facts.arch)
    patterns = f"{rule.cell} {rule.recipe} {rule.machine}".split()
    if any(pattern != "*" and word not in pattern.split("|") for pattern, word in zip(patterns, words, strict=True)):
        return False
    recipe = _recipe(asked, facts)
    package, mark = rule.version
    return not (
        (rule.lacks and rule.lacks in facts.packages)
        or (package and mark not in facts.packages.get(package, ""))
        or (rule.without_isa and facts.isa & set(rule.without_isa))
        or (rule.below_capability and facts.compute_capability >= rule.below_capability)
        or (rule.built is not None and rule.built != (recipe is not None))
        or (rule.lacks_needs and (recipe is None or _has_needs(recipe, facts)))
    )


def report_cells(facts: PlatformFacts) -> Iterator[CellReport]:
    """Yields a report of every cell that the platform can be asked for, the default recipe before the others."""
    for device in facts.devices:
        for backend in BACKENDS:
            for precision in PRECISIONS:
                if precision in GPU_PRECISIONS and not _is_cuda(device):
                    continue
                default = report_cell(Cell(backend=backend, precision=precision, device=device), facts)
                yield default
                for recipe in recipes_of(backend, precision, device):
                    if recipe.name != default.asked.recipe:
                        yield report_cell(
                            Cell(backend=backend, precision=precision, device=device, recipe=recipe.name), facts
                        )


def resolve(asked: Cell, facts: PlatformFacts, *, strict: bool) -> tuple[Cell, Cell, tuple[Notice, ...]]:
    """Returns (requested, effective, notices). `auto` is resolved first and never counts as a fallback.

    Raises InvalidRequest for an unknown backend, precision or device; NoSuchCell for a cell that cannot run, and with
    `strict` also for one that falls back.
    """
    requested = _resolve_auto(asked, facts)
    _check_exists(requested, facts)
    report = report_cell(requested, facts)
    if report.state is CellState.UNAVAILABLE:
        raise NoSuchCell(f"{requested} cannot run here: {report.reason}; {report.fix or 'choose another'}")
    if report.state is CellState.FALLS_BACK and strict:
        raise NoSuchCell(f"{report.reason}: refused by --strict; drop it to accept the fallback")
    notices = (Notice(report.code, report.reason, report.fix),) if report.state is not CellState.NATIVE else ()
    return report.asked, report.effective, notices


def _resolve_auto(asked: Cell, facts: PlatformFacts) -> Cell:
    """Replaces `auto` by the fastest fp32 cell: ONNX Runtime on the CPU if it is installed, else PyTorch."""
    device = "cpu" if asked.device in ("", "auto") else "cuda:0" if asked.device == "cuda" else asked.device
    fastest = "onnx" if "onnxruntime" in facts.packages and device == "cpu" else "torch"
    return Cell(
        backend=fastest if asked.backend in ("", "auto") else asked.backend,
        precision="fp32" if asked.precision in ("", "auto") else asked.precision,
        device=device,
        recipe=asked.recipe,
    )


def _check_exists(cell: Cell, facts: PlatformFacts) -> None:
    for word, value, known in (
        ("backend", cell.backend, BACKENDS),
        ("precision", cell.precision, PRECISIONS),
    ):
        if value not in known:
            raise InvalidRequest(f"unknown {word} {value[:40]!r}: choose one of auto, {', '.join(known)}")
    if cell.device not in ("cpu", "mps") and not _is_cuda(cell.device):
        raise InvalidRequest(f"unknown device {cell.device[:40]!r}: choose one of auto, cpu, cuda:N, mps")
    if cell.device not in facts.devices:
        raise NoSuchCell(f"this machine has no device {cell.device}: choose one of auto, {', '.join(facts.devices)}")
    names = [recipe.name for recipe in recipes_of(cell.backend, cell.precision, cell.device)]
    if cell.recipe and cell.recipe not in names:
        choices = f"choose one of {', '.join(names)}, or leave it empty" if names else "it has none, leave it empty"
        raise NoSuchCell(f"{cell} has no recipe {cell.recipe[:40]!r}: {choices}")


def _is_cuda(device: str) -> bool:
    name, _, index = device.partition(":")
    return name == "cuda" and index.isdecimal()
