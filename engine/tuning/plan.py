"""How a cell uses the machine: instances × threads and the bounds of a batch, as measured here, or by rule of thumb."""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from engine.backends.base import Cell
from engine.capabilities.probes import environment_hash
from engine.host.cache import cache_root
from engine.host.json_file import read_json, rows_in, update_json
from engine.host.machine import PlatformFacts
from engine.models.resolve import BUNDLED_ID
from engine.scheduling import BatchPolicy

_FORMAT = 3


@dataclass(frozen=True, slots=True)
class ServingPlan:
    """What `auto` stands for."""

    instances: int
    threads: int
    max_batch_tokens: int
    """Padded tokens in one forward pass, beyond which a pass only takes longer."""
    max_batch_items: int
    pass_cost_tokens: int
    """What a forward pass costs besides its tokens, in tokens."""
    texts_per_s: float = 0.0
    """Short texts, no server; 0 for a rule of thumb."""

    @property
    def measured(self) -> bool:
        """Whether this machine was asked."""
        return self.texts_per_s > 0

    def __str__(self) -> str:
        how = "measured here" if self.measured else "a rule of thumb: `engine tune` measures"
        return (
            f"{self.instances} × {self.threads}, batches up to {self.max_batch_tokens:,} tokens and "
            f"{self.max_batch_items:,} texts ({how})"
        )


@dataclass(frozen=True, slots=True)
class Knobs:
    """The batching knobs as the user turned them; None: as the plan says."""

    max_batch_tokens: int | None = None
    max_batch_items: int | None = None
    max_wait_s: float = 0.0
    coalesce: bool = True

    def over(self, plan: ServingPlan, *, packs: bool) -> BatchPolicy:
        """The policy of a deployment whose executors pack texts, or pad them."""
        return BatchPolicy(
            max_batch_tokens=self.max_batch_tokens or plan.max_batch_tokens,
            max_batch_items=self.max_batch_items or plan.max_batch_items,
            max_wait_s=self.max_wait_s,
            coalesce=self.coalesce,
            packs=packs,
            pass_cost_tokens=plan.pass_cost_tokens,
        )


def rule_of_thumb(device: str, cores: int) -> ServingPlan:
    """What suits most machines.

    On a CPU as many one-thread instances as cores: on short texts they beat one wide instance by 1.3-2x. Another device
    is kept busy by one instance whose batches are large, because launching a pass is what costs there.
    """
    if device == "cpu":
        return ServingPlan(cores, 1, max_batch_tokens=4096, max_batch_items=32, pass_cost_tokens=16)
    return ServingPlan(1, 1, max_batch_tokens=32_768, max_batch_items=512, pass_cost_tokens=1024)


class PlanCache:
    """The measured plans of a machine, by cell and model. Losing the file costs a measurement."""

    def __init__(self, facts: PlatformFacts) -> None:
        self._facts = facts
        self._path = cache_root() / "plans" / f"{environment_hash(facts)[:32]}-{facts.cores}.json"

    def plan(self, cell: Cell, model: str) -> ServingPlan:
        """The measured one, or the rule of thumb."""
        return self.find(cell, model) or rule_of_thumb(cell.device, self._facts.cores)

    def find(self, cell: Cell, model: str) -> ServingPlan | None:
        """The measured one; None where nothing or something damaged is kept.

        `model` is as it was asked for; empty: the bundled one.
        """
        rows = rows_in(read_json(self._path), "plans", _FORMAT)
        for key in _keys(cell, model):
            with contextlib.suppress(KeyError, TypeError, ValueError):
                return _plan(rows.get(key))
        return None

    def write(self, cell: Cell, model: str, plan: ServingPlan) -> None:
        """Remembers a plan. Raises OSError when the cache cannot be written."""
        key = _keys(cell, model)[0]

        def change(found: Mapping[str, Any]) -> Mapping[str, Any]:
            return {"format": _FORMAT, "plans": {**rows_in(found, "plans", _FORMAT), key: asdict(plan)}}

        update_json(self._path, change)


def _plan(row: Any) -> ServingPlan:
    """The plan that was written. Raises KeyError, TypeError or ValueError for what is none."""
    found = ServingPlan(**{field.name: row[field.name] for field in fields(ServingPlan)})
    if not all(isinstance(value, int | float) and value >= 0 for value in asdict(found).values()):
        raise ValueError("not a plan")
    if min(found.instances, found.threads, found.max_batch_tokens, found.max_batch_items) < 1:
        raise ValueError("a plan that runs nothing")
    return found


def resolved_name(model: str) -> str:
    """One name of a model for all that it can be asked for by: empty for the bundled one, else a path or a hub id."""
    if model in ("", BUNDLED_ID):
        return ""
    folder = os.path.expanduser(model)  # noqa: PTH111 - Path's raises where there is no home
    return os.path.realpath(folder) if os.path.isdir(folder) else model  # noqa: PTH112 - and for a name too long


def _keys(cell: Cell, model: str) -> list[str]:
    """That of the resolved name, which is written, and those by the name as asked, which older files have."""
    names = dict.fromkeys((resolved_name(model), model, *((BUNDLED_ID,) if not model else ())))
    return ["/".join((cell.backend, cell.precision, cell.device, cell.recipe, name)) for name in names]


def asked_for(plan: ServingPlan, instances: int, threads: int, cores: int) -> ServingPlan:
    """The plan with the counts that the user fixed; with one of them fixed, the other fills the cores. 0: not fixed."""
    if not instances and not threads:
        return plan
    threads = threads or max(1, cores // instances)
    return replace(plan, instances=instances or max(1, cores // threads), threads=threads)
