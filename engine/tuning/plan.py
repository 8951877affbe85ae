"""The serving plan of a cell: instances × threads and the bounds of a batch, measured or by a rule of thumb."""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from engine.backends.base import Cell
from engine.capabilities.probes import environment_hash
from engine.errors import InvalidRequest
from engine.host.cache import cache_root
from engine.host.json_file import read_json, rows_in, update_json
from engine.host.machine import PlatformFacts
from engine.models.resolve import BUNDLED_ID
from engine.scheduling import BatchPolicy

_FORMAT = 3


@dataclass(frozen=True, slots=True)
class ServingPlan:
    """The values that `auto` stands for on this machine.

    Made by `engine.tuning.search` from measurements, or by `rule_of_thumb`; kept in a PlanCache.
    """

    instances: int
    threads: int
    """Intra-op threads of one instance."""
    max_batch_tokens: int
    """Padded tokens of one forward pass above which throughput does not improve."""
    max_batch_items: int
    pass_cost_tokens: int
    """Fixed cost of a forward pass, as the number of tokens that take the same time."""
    texts_per_s: float = 0.0
    """Throughput on short texts without a server; 0 for a rule of thumb."""

    @property
    def measured(self) -> bool:
        """Whether the plan was measured on this machine."""
        return self.texts_per_s > 0

    def with_counts(self, instances: int, threads: int, cores: int) -> "ServingPlan":
        """Returns the plan with the counts that the user set; 0: not set.

        When only one of them is set, the other one is chosen so that all cores are used.
        """
        if not instances and not threads:
            return self
        threads = threads or max(1, cores // instances)
        return replace(self, instances=instances or max(1, cores // threads), threads=threads)

    def __str__(self) -> str:
        how = "measured here" if self.measured else "a rule of thumb: `engine tune` measures"
        return (
            f"{self.instances} × {self.threads}, batches up to {self.max_batch_tokens:,} tokens and "
            f"{self.max_batch_items:,} texts ({how})"
        )


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """The largest batching options that a user may set."""

    max_batch_tokens: int = 1 << 20
    """Chosen: above what any plan of a device with large memory uses; activations of a pass grow with it."""
    max_batch_items: int = 16_384
    max_wait_s: float = 1.0


@dataclass(frozen=True, slots=True)
class BatchOverrides:
    """The batching options that the user set, by flags of `engine serve` or by `Control.Configure`.

    They outlive a switch, whose new plan may have other bounds: hence a bound that is None follows the plan. The
    scheduler obeys the BatchPolicy that `policy` makes from both.
    """

    max_batch_tokens: int | None = None
    max_batch_items: int | None = None
    max_wait_s: float = 0.0
    coalesce: bool = True

    def check(self, limits: BatchLimits) -> None:
        """Raises InvalidRequest if an option is out of range."""
        for name, value, largest in (
            ("max_batch_tokens", self.max_batch_tokens, limits.max_batch_tokens),
            ("max_batch_items", self.max_batch_items, limits.max_batch_items),
        ):
            if value is not None and not 0 < value <= largest:
                raise InvalidRequest(
                    f"{name} is out of range: set a value from 1 to {largest}, or 0 for the plan's own"
                )
        if not 0 <= self.max_wait_s <= limits.max_wait_s:
            raise InvalidRequest(f"max_wait_ms is out of range: set a value from 0 to {limits.max_wait_s * 1e3:.0f}")

    def policy(self, plan: ServingPlan, *, packs: bool) -> BatchPolicy:
        """Returns the policy of a deployment. `packs`: its executors put several texts in one row."""
        return BatchPolicy(
            max_batch_tokens=self.max_batch_tokens or plan.max_batch_tokens,
            max_batch_items=self.max_batch_items or plan.max_batch_items,
            max_wait_s=self.max_wait_s,
            coalesce=self.coalesce,
            packs=packs,
            pass_cost_tokens=plan.pass_cost_tokens,
        )


def rule_of_thumb(device: str, cores: int) -> ServingPlan:
    """Returns a plan that suits most machines.

    On a CPU: one single-threaded instance per core, 1.3 to 2 times as fast on short texts as one instance of many
    threads. On another device: one instance with large batches, because the cost of a pass is its launch.
    """
    if device == "cpu":
        return ServingPlan(cores, 1, max_batch_tokens=4096, max_batch_items=32, pass_cost_tokens=16)
    return ServingPlan(1, 1, max_batch_tokens=32_768, max_batch_items=512, pass_cost_tokens=1024)


class PlanCache:
    """The measured plans of this machine, by cell and model. If the file is lost, plans are measured again."""

    def __init__(self, facts: PlatformFacts) -> None:
        self._facts = facts
        self.path = cache_root() / "plans" / f"{environment_hash(facts)[:32]}-{facts.cores}.json"

    def plan(self, cell: Cell, model: str) -> ServingPlan:
        """Returns the measured plan, or else the rule of thumb."""
        return self.find(cell, model) or rule_of_thumb(cell.device, self._facts.cores)

    def find(self, cell: Cell, model: str) -> ServingPlan | None:
        """Returns the measured plan; None when there is no entry or it is damaged.

        `model` is the name that the user gave; empty: the bundled model.
        """
        rows = rows_in(read_json(self.path), "plans", _FORMAT)
        for key in _keys(cell, model):
            with contextlib.suppress(KeyError, TypeError, ValueError):
                return _parse(rows.get(key))
        return None

    def write(self, cell: Cell, model: str, plan: ServingPlan) -> None:
        """Stores a plan. Raises OSError when the cache cannot be written."""
        key = _keys(cell, model)[0]

        def change(content: Mapping[str, Any]) -> Mapping[str, Any]:
            return {"format": _FORMAT, "plans": {**rows_in(content, "plans", _FORMAT), key: asdict(plan)}}

        update_json(self.path, change)


def _parse(row: Any) -> ServingPlan:
    """Returns the plan of an entry. Raises KeyError, TypeError or ValueError when the entry is damaged."""
    plan = ServingPlan(**{field.name: row[field.name] for field in fields(ServingPlan)})
    if not all(isinstance(value, int | float) and value >= 0 for value in asdict(plan).values()):
        raise ValueError("not a plan")
    if min(plan.instances, plan.threads, plan.max_batch_tokens, plan.max_batch_items) < 1:
        raise ValueError("a plan with a count or a bound of 0")
    return plan


def resolved_name(model: str) -> str:
    """Returns one name for all names of a model: empty for the bundled model, else an absolute path or a hub id."""
    if model in ("", BUNDLED_ID):
        return ""
    folder = os.path.expanduser(model)  # noqa: PTH111 - Path's raises without a home
    return os.path.realpath(folder) if os.path.isdir(folder) else model  # noqa: PTH112 - Path's raises for a long name


def _keys(cell: Cell, model: str) -> list[str]:
    """Returns the keys of an entry: first the one that is written, then those in older files.

    The parts and their order are part of the file's format. The first key ends with the resolved name of the model,
    the older ones with the name that the user gave.
    """
    names = dict.fromkeys((resolved_name(model), model, *((BUNDLED_ID,) if not model else ())))
    return ["/".join((cell.backend, cell.precision, cell.device, cell.recipe, name)) for name in names]
