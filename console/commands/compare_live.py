"""Deployments compared live: rounds in fresh random order on one engine that is switched between them.

A comparison is a sweep whose cells are measured in rounds, so that it is stored, drawn and interrupted like one. The
round is the unit: within it all sides met the same machine.
"""

import asyncio
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from console.analysis.ratios import paired_ratio
from console.analysis.steady_state import EQUIVALENCE_MARGIN
from console.commands.sweep import SweepProgress, swept
from console.compare.stored import SIDES, Finding
from console.measure.run import RunSpec
from console.model.durations import duration
from console.model.engine import Deployment
from console.model.exit_codes import EXIT_BY_SIGNAL, ExitCode
from console.output.compare import SCHEMA_VERSION, finding_object, ratio_text
from console.output.table import table
from console.session.port import SessionOptions
from console.store.database import Store
from console.sweep.cell import SweepCell, expected_s
from console.sweep.labels import load_of
from console.sweep.runner import plan_sweep
from console.sweep.spec import SweepSpec
from console.sweep.state import CellFigures, CellStatus, SweepState

_BACKENDS = ("torch", "onnx", "openvino")
_PRECISIONS = ("fp32", "bf16", "fp16", "tf32", "int8", "int4", "fp8")
_KEYS = ("recipe", "instances", "threads", "device", "model", "coalesce", "max-batch-tokens")
_SPEED_WORDS = {"more": "faster", "less": "slower"}
_DELAY_WORDS = {"more": "higher", "less": "lower"}


class SideError(Exception):
    """A deployment cannot be read from its words: where, and what would do."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of those compared: its words, and the cell that is measured in every round."""

    words: str
    cell: SweepCell


@dataclass(frozen=True, slots=True)
class LivePlan:
    """Who is measured, and how often."""

    sides: tuple[Side, ...]
    rounds: int
    seed: int = 0

    @property
    def order(self) -> list[int]:
        """Sides by place in time: every round has each once, in an order of its own."""
        chance = Random(self.seed)  # noqa: S311 - an order, not a secret
        places: list[int] = []
        for _ in range(self.rounds):
            sides = list(range(len(self.sides)))
            chance.shuffle(sides)
            places += sides
        return places

    @property
    def cells(self) -> tuple[SweepCell, ...]:
        """In order; `repeat` counts places, so that no two are one, not even when a side is compared with itself."""
        return tuple(replace(self.sides[side].cell, repeat=place) for place, side in enumerate(self.order))

    @property
    def name(self) -> str:
        return "live: " + " | ".join(side.words for side in self.sides)


def parse_side(words: str, run: RunSpec, *, strict: bool = False) -> Side:
    """`onnx int8 instances=2 threads=1`. Raises SideError."""
    asked: dict[str, Any] = {}
    knobs: dict[str, Any] = {}
    for word in shlex.split(words):
        key, equals, value = word.partition("=")
        if not equals and word in _BACKENDS:
            asked["backend"] = word
        elif not equals and word in _PRECISIONS:
            asked["precision"] = word
        elif equals and key in ("recipe", "device", "model"):
            asked[key] = value
        elif equals and key in ("instances", "threads"):
            asked[key] = _count(words, word, value)
        elif equals and key == "coalesce" and value in ("on", "off"):
            knobs["coalesce"] = value == "on"
        elif equals and key == "max-batch-tokens":
            knobs["max_batch_tokens"] = _count(words, word, value)
        else:
            raise SideError(
                f"{words!r}: {word!r} is no part of a deployment: write a backend ({', '.join(_BACKENDS)}), a precision"
                f" ({', '.join(_PRECISIONS)}), or key=value of {', '.join(_KEYS)} (coalesce=on|off)"
            )
    if not words.strip():
        raise SideError("an empty deployment: write for example 'onnx int8'")
    return Side(words, SweepCell(run, Deployment(**asked), strict, **knobs))


def _count(words: str, word: str, value: str) -> int:
    if not value.isdigit() or int(value) < 1:
        raise SideError(f"{words!r}: {word!r} needs a whole number from 1")
    return int(value)


@dataclass(frozen=True, slots=True)
class LiveResult:
    """What the rounds say. `rounds` holds each side's figures by round, None where it has none."""

    plan: LivePlan
    sweep_id: str
    rounds: tuple[tuple[CellFigures | None, ...], ...]
    state: SweepState

    def finding(self, side: int, figure: str) -> Finding:
        """`figure` of a side against the first one; `texts_per_s`, `p50_ms` or `p95_ms`."""
        base, other = ([_value(one[place], figure) for one in self.rounds] for place in (0, side))
        ratio = paired_ratio(other, base)
        words = _SPEED_WORDS if figure == "texts_per_s" else _DELAY_WORDS
        says = ratio.verdict if ratio is not None else "undecided"
        return Finding(_mean(base), _mean(other), ratio, words.get(says, says))

    def unsteady(self, side: int) -> int:
        """Rounds whose figures were not steady: they count, the round being the unit, and are told."""
        return sum(found.verdict == "unstable" for found in self.of_side(side))

    def of_side(self, side: int) -> list[CellFigures]:
        """What its rounds came to, without those that were not measured."""
        return [found for one in self.rounds if (found := one[side]) is not None]


def _value(figures: CellFigures | None, name: str) -> float | None:
    return None if figures is None or figures.verdict == "failed" else getattr(figures, name)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def result_of(plan: LivePlan, state: SweepState) -> LiveResult:
    """Rounds put together again from the cells in their places."""
    rounds: list[list[CellFigures | None]] = [[None] * len(plan.sides) for _ in range(plan.rounds)]
    for place, side in enumerate(plan.order):
        one = next(one for one in state.cells if one.cell.repeat == place)
        if one.status is CellStatus.DONE:
            rounds[place // len(plan.sides)][side] = one.figures
    return LiveResult(plan, state.sweep_id, tuple(map(tuple, rounds)), state)


def as_json(result: LiveResult, *, interrupted: bool = False) -> dict[str, Any]:
    """One object; every ratio is the side over the first one."""
    figures = ("texts_per_s", "p50_ms", "p95_ms")
    return {
        "schema_version": SCHEMA_VERSION,
        "sweep_id": result.sweep_id,
        "interrupted": interrupted,
        "workload": {
            name: getattr(result.plan.sides[0].cell.run.load, name) for name in ("batch", "concurrency", "rate")
        },
        "sides": [
            {
                "side": SIDES[place],
                "asked": side.words,
                "effective": next((found.effective.cell for found in result.of_side(place)), None),
                "unsteady_rounds": result.unsteady(place),
            }
            for place, side in enumerate(result.plan.sides)
        ],
        "rounds": [[_round(one) for one in sides] for sides in result.rounds],
        "comparisons": [
            {"side": SIDES[place], **{figure: finding_object(result.finding(place, figure)) for figure in figures}}
            for place in range(1, len(result.plan.sides))
        ],
    }


def _round(figures: CellFigures | None) -> Mapping[str, Any] | None:
    if figures is None:
        return None
    return {name: getattr(figures, name) for name in ("run_id", "verdict", "texts_per_s", "p50_ms", "p95_ms")}


def as_text(result: LiveResult) -> str:
    """A line a side, and a sentence for each comparison."""
    sides = result.plan.sides
    lines = []
    for place, side in enumerate(sides):
        found = result.finding(place, "texts_per_s")
        p95 = result.finding(place, "p95_ms")
        unsteady = result.unsteady(place)
        lines.append((
            SIDES[place], side.words, "–" if found.other is None else f"{found.other:,.0f}",
            "–" if p95.other is None else f"{p95.other:,.1f}",
            "the base" if not place else ratio_text(found.ratio), "" if not place else found.says,
            "" if not place else ratio_text(p95.ratio), f"~ {unsteady} unsteady" if unsteady else "",
        ))  # fmt: skip
    head = ("", "deployment", "texts/s", "p95 ms", "texts/s over A (95 %)", " ", "p95 over A (95 %)", "  ")
    method = "paired t-interval" if result.plan.rounds < 10 else "BCa bootstrap"
    load = load_of(replace(sides[0].cell, target=Deployment(), coalesce=None, max_batch_tokens=None))
    return "\n".join([
        f"{load}, {result.plan.rounds} rounds in random order on one engine, {method}",
        table(head, lines, {"texts/s", "p95 ms"}),
        *(_sentence(result, place) for place in range(1, len(sides))),
    ])  # fmt: skip


def _sentence(result: LiveResult, place: int) -> str:
    found = result.finding(place, "texts_per_s")
    ours, base = result.plan.sides[place].words, result.plan.sides[0].words
    if found.ratio is None:
        return f"{ours} against {base}: no round has both"
    if found.ratio.low is None or found.ratio.high is None:
        return f"{ours} against {base}: undecided, one round has no interval"
    change = f"{found.ratio.low - 1:+.1%} to {found.ratio.high - 1:+.1%}"
    match found.says:
        case "undecided":
            return f"undecided: {ours} against {base} is {change}; more rounds would narrow it (--rounds)"
        case "same":
            return f"{ours} is as fast as {base}: {change}, within {EQUIVALENCE_MARGIN:.0%}"
    return f"{ours} is {found.says} than {base}: {change}"


def in_rounds(state: SweepState, sides: int) -> SweepState:
    """As people count it: a cell's repeat is its round, not its place."""
    cells = tuple(replace(one, cell=replace(one.cell, repeat=one.cell.repeat // sides)) for one in state.cells)
    return replace(state, cells=cells)


def compare_once(options: SessionOptions, plan: LivePlan, *, store: Store | None, as_json: bool) -> int:
    """Measures, records, prints, and returns the exit code. Raises StoreError when it cannot be begun."""
    return asyncio.run(_compare(options, plan, store, SweepProgress(sys.stderr), as_json))


async def _compare(
    options: SessionOptions, plan: LivePlan, store: Store | None, progress: SweepProgress, in_json: bool
) -> int:
    spec = SweepSpec(plan.name, plan.seed, 1, plan.cells, _told(plan))
    sweep_plan = plan_sweep(spec, store)
    progress.say(f"{plan.rounds} rounds of {len(plan.sides)}, about {duration(expected_s(plan.cells, None))}")
    state, stopped_by = await swept(
        options,
        sweep_plan,
        store,
        progress,
        "finishing this measurement; Ctrl+C again stops now and keeps what is there",
        shown_as=lambda state: in_rounds(state, len(plan.sides)),
    )
    result = result_of(plan, state)
    shown = (
        json.dumps(as_json(result, interrupted=bool(stopped_by)), ensure_ascii=False) if in_json else as_text(result)
    )
    print(shown, flush=True)
    if store is not None:
        progress.say(f"recorded: embedconsole runs --sweep {state.sweep_id}")
    return EXIT_BY_SIGNAL + stopped_by if stopped_by else exit_code(state)


def _told(plan: LivePlan) -> str:
    """What the store keeps in the place of a specification: comments, since no TOML file was written."""
    return f"# embedconsole compare --live, {plan.rounds} rounds, order seed {plan.seed}\n" + "".join(
        f"# {letter}: {side.words}\n" for letter, side in zip(SIDES, plan.sides, strict=False)
    )


def exit_code(state: SweepState) -> int:
    """5 and 4 as everywhere; rounds that were not steady are what the interval is for."""
    if any(one.status is CellStatus.FAILED for one in state.cells):
        return ExitCode.ENGINE_FAILED
    bound = any(one.figures is not None and one.figures.verdict == "client_bound" for one in state.cells)
    return ExitCode.CLIENT_BOUND if bound else ExitCode.OK
