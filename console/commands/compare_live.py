"""`embedconsole compare --live`: measures deployments in rounds, in random order, on one engine that switches.

A comparison is a sweep whose points are measured in rounds, so it is stored, displayed and interrupted like one. The
round is the statistical unit: within a round all sides run under the same conditions of the machine.
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
from console.commands.sweep import SweepProgress, has_runs, run_sweep
from console.compare.stored import SIDES, ComparedFigure
from console.measure.spec import RunSpec
from console.model.durations import duration
from console.model.engine import Deployment
from console.model.exit_codes import EXIT_BY_SIGNAL
from console.model.verdicts import NOT_STEADY, Verdict, exit_code_of
from console.output.compare import SCHEMA_VERSION, finding_object, ratio_text, verdict_text
from console.output.table import table
from console.session.port import SessionOptions
from console.store.database import Store
from console.store.schema import LIVE_COMPARISON
from console.sweep.labels import load_of
from console.sweep.point import SweepPoint, expected_s
from console.sweep.runner import plan_sweep
from console.sweep.spec import SweepSpec
from console.sweep.state import PointFigures, PointStatus, SweepState

_BACKENDS = ("torch", "onnx", "openvino")
_PRECISIONS = ("fp32", "bf16", "fp16", "tf32", "int8", "int4", "fp8")
_KEYS = ("recipe", "instances", "threads", "device", "model", "coalesce", "max-batch-tokens")
_THROUGHPUT_WORDS = {"more": "faster", "less": "slower"}
_LATENCY_WORDS = {"more": "higher", "less": "lower"}


class SideError(Exception):
    """A deployment cannot be parsed; the message names the word and what is allowed."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the compared deployments: its text, and the point that is measured in every round."""

    words: str
    point: SweepPoint


@dataclass(frozen=True, slots=True)
class LivePlan:
    """The compared deployments and the number of rounds."""

    sides: tuple[Side, ...]
    rounds: int
    seed: int = 0

    @property
    def order(self) -> list[int]:
        """Indices of the sides in the order of measurement: each once per round, shuffled within the round."""
        random = Random(self.seed)  # noqa: S311 - an order, not a secret
        order: list[int] = []
        for _ in range(self.rounds):
            sides = list(range(len(self.sides)))
            random.shuffle(sides)
            order += sides
        return order

    @property
    def points(self) -> tuple[SweepPoint, ...]:
        """The points in order. `repeat` is the position, so that all differ, even if a side is compared with itself."""
        return tuple(replace(self.sides[side].point, repeat=index) for index, side in enumerate(self.order))

    @property
    def name(self) -> str:
        return "live: " + " | ".join(side.words for side in self.sides)


def parse_side(words: str, run: RunSpec, *, strict: bool = False) -> Side:
    """Parses a deployment such as `onnx int8 instances=2 threads=1`. Raises SideError."""
    target: dict[str, Any] = {}
    knobs: dict[str, Any] = {}
    for word in shlex.split(words):
        key, equals, value = word.partition("=")
        if not equals and word in _BACKENDS:
            target["backend"] = word
        elif not equals and word in _PRECISIONS:
            target["precision"] = word
        elif equals and key in ("recipe", "device", "model"):
            target[key] = value
        elif equals and key in ("instances", "threads"):
            target[key] = _count(words, word, value)
        elif equals and key == "coalesce" and value in ("on", "off"):
            knobs["coalesce"] = value == "on"
        elif equals and key == "max-batch-tokens":
            knobs["max_batch_tokens"] = _count(words, word, value)
        else:
            raise SideError(
                f"{words!r}: {word!r} is not part of a deployment: write a backend ({', '.join(_BACKENDS)}), a"
                f" precision ({', '.join(_PRECISIONS)}), or key=value of {', '.join(_KEYS)} (coalesce=on|off)"
            )
    if not words.strip():
        raise SideError("an empty deployment: write for example 'onnx int8'")
    return Side(words, SweepPoint(run, Deployment(**target), strict, **knobs))


def _count(words: str, word: str, value: str) -> int:
    if not value.isdigit() or int(value) < 1:
        raise SideError(f"{words!r}: {word!r} needs a whole number from 1")
    return int(value)


@dataclass(frozen=True, slots=True)
class LiveResult:
    """The result of the rounds. `rounds[round][side]` are the figures; None if the point was not measured."""

    plan: LivePlan
    sweep_id: str
    rounds: tuple[tuple[PointFigures | None, ...], ...]
    state: SweepState

    def compared(self, side: int, figure: str) -> ComparedFigure:
        """Returns a figure of a side and of the first side: `texts_per_s`, `p50_ms` or `p95_ms`."""
        base, other = ([_value(one[index], figure) for one in self.rounds] for index in (0, side))
        ratio = paired_ratio(other, base)
        words = _THROUGHPUT_WORDS if figure == "texts_per_s" else _LATENCY_WORDS
        verdict = ratio.verdict if ratio is not None else "undecided"
        return ComparedFigure(_mean(base), _mean(other), ratio, words.get(verdict, verdict))

    def unsteady(self, side: int) -> int:
        """Returns the number of rounds that were not steady. They count in the ratios, since the round is the unit."""
        return sum(figures.verdict in NOT_STEADY for figures in self.of_side(side))

    def of_side(self, side: int) -> list[PointFigures]:
        """Returns the figures of a side in the rounds that were measured."""
        return [figures for one in self.rounds if (figures := one[side]) is not None]


def _value(figures: PointFigures | None, name: str) -> float | None:
    return None if figures is None or figures.verdict == "failed" else getattr(figures, name)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def result_of(plan: LivePlan, state: SweepState) -> LiveResult:
    """Returns the rounds, from the points of the sweep's last snapshot."""
    rounds: list[list[PointFigures | None]] = [[None] * len(plan.sides) for _ in range(plan.rounds)]
    for index, side in enumerate(plan.order):
        one = next(one for one in state.points if one.point.repeat == index)
        if one.status is PointStatus.DONE:
            rounds[index // len(plan.sides)][side] = one.figures
    return LiveResult(plan, state.sweep_id, tuple(map(tuple, rounds)), state)


def as_json(result: LiveResult, *, interrupted: bool = False) -> dict[str, Any]:
    """Returns the object of `compare --live --json`; every ratio is the side over the first side."""
    figures = ("texts_per_s", "p50_ms", "p95_ms")
    return {
        "schema_version": SCHEMA_VERSION,
        "sweep_id": result.sweep_id,
        "interrupted": interrupted,
        "workload": {
            name: getattr(result.plan.sides[0].point.run.load, name) for name in ("batch", "concurrency", "rate")
        },
        "sides": [
            {
                "side": SIDES[index],
                "asked": side.words,
                "effective": next((figures.effective.cell for figures in result.of_side(index)), None),
                "unsteady_rounds": result.unsteady(index),
            }
            for index, side in enumerate(result.plan.sides)
        ],
        "rounds": [[_round(one) for one in sides] for sides in result.rounds],
        "comparisons": [
            {"side": SIDES[side], **{figure: finding_object(result.compared(side, figure)) for figure in figures}}
            for side in range(1, len(result.plan.sides))
        ],
    }


def _round(figures: PointFigures | None) -> Mapping[str, Any] | None:
    if figures is None:
        return None
    return {name: getattr(figures, name) for name in ("run_id", "verdict", "texts_per_s", "p50_ms", "p95_ms")}


def as_text(result: LiveResult) -> str:
    """Returns a table with a line per side, and a sentence for each comparison."""
    sides = result.plan.sides
    lines = []
    for index, side in enumerate(sides):
        speed = result.compared(index, "texts_per_s")
        p95 = result.compared(index, "p95_ms")
        unsteady = result.unsteady(index)
        verdict = verdict_text(speed)
        lines.append((
            SIDES[index], side.words, "–" if speed.other is None else f"{speed.other:,.0f}",
            "–" if p95.other is None else f"{p95.other:,.1f}",
            ratio_text(speed.ratio) if index else "baseline", verdict if index else "",
            ratio_text(p95.ratio) if index else "", f"~ {unsteady} unsteady" if unsteady else "",
        ))  # fmt: skip
    head = ("", "deployment", "texts/s", "p95 ms", "texts/s over A (95 %)", " ", "p95 over A (95 %)", "  ")
    method = "paired t-interval" if result.plan.rounds < 10 else "BCa bootstrap"
    load = load_of(replace(sides[0].point, target=Deployment(), coalesce=None, max_batch_tokens=None))
    return "\n".join([
        f"{load}, {result.plan.rounds} rounds in random order on one engine, {method}",
        table(head, lines, {"texts/s", "p95 ms"}),
        *(_sentence(result, side) for side in range(1, len(sides))),
    ])  # fmt: skip


def _sentence(result: LiveResult, side: int) -> str:
    speed = result.compared(side, "texts_per_s")
    other, base = result.plan.sides[side].words, result.plan.sides[0].words
    if speed.ratio is None:
        return f"{other} against {base}: no round has measured both"
    if speed.ratio.low is None or speed.ratio.high is None:
        return f"{other} against {base}: inconclusive, one round gives no interval"
    change = f"{speed.ratio.low - 1:+.1%} to {speed.ratio.high - 1:+.1%}"
    match speed.verdict:
        case "undecided":
            return f"inconclusive: {other} against {base} is {change}; more rounds narrow it (--rounds)"
        case "same":
            return f"{other} is as fast as {base}: {change}, within {EQUIVALENCE_MARGIN:.0%}"
    return f"{other} is {speed.verdict} than {base}: {change}"


def with_round_numbers(state: SweepState, sides: int) -> SweepState:
    """Returns the state for display: a point's repeat is the number of its round, not its position."""
    points = tuple(replace(one, point=replace(one.point, repeat=one.point.repeat // sides)) for one in state.points)
    return replace(state, points=points)


def compare_once(options: SessionOptions, plan: LivePlan, *, store: Store | None, as_json: bool) -> int:
    """Measures, records and prints the comparison; returns the exit code. Raises StoreError if it cannot be stored."""
    return asyncio.run(_compare(options, plan, store, SweepProgress(sys.stderr), as_json))


async def _compare(
    options: SessionOptions, plan: LivePlan, store: Store | None, progress: SweepProgress, in_json: bool
) -> int:
    spec = SweepSpec(plan.name, plan.seed, 1, plan.points, _spec_text(plan))
    sweep_plan = plan_sweep(spec, store, kind=LIVE_COMPARISON)
    progress.say(f"{plan.rounds} rounds of {len(plan.sides)}, about {duration(expected_s(plan.points, None))}")
    state, stopped_by = await run_sweep(
        options,
        sweep_plan,
        store,
        progress,
        "finishing this measurement; Ctrl+C again stops now and keeps its results",
        shown_as=lambda state: with_round_numbers(state, len(plan.sides)),
    )
    result = result_of(plan, state)
    if in_json:
        print(json.dumps(as_json(result, interrupted=bool(stopped_by)), ensure_ascii=False), flush=True)
    else:
        print(as_text(result), flush=True)
    if store is not None and has_runs(state):
        progress.say(f"recorded: embedconsole runs --sweep {state.sweep_id}")
    return EXIT_BY_SIGNAL + stopped_by if stopped_by else exit_code(state)


def _spec_text(plan: LivePlan) -> str:
    """Returns what is stored in place of a specification: comments, because there is no TOML file."""
    return f"# embedconsole compare --live, {plan.rounds} rounds, order seed {plan.seed}\n" + "".join(
        f"# {letter}: {side.words}\n" for letter, side in zip(SIDES, plan.sides, strict=False)
    )


def exit_code(state: SweepState) -> int:
    """Returns the first exit code of the contract that applies; the interval covers rounds that are not steady."""
    verdicts = {one.figures.verdict for one in state.points if one.figures is not None} - NOT_STEADY
    if any(one.status is PointStatus.FAILED for one in state.points):
        verdicts.add(Verdict.FAILED)
    return exit_code_of(verdicts)
