"""State of an engine: its deployment, knobs, serving plan, machine, model and capabilities."""

from dataclasses import dataclass, field
from enum import StrEnum

PLAIN = "plain"
"""The recipe without any transformation of the model."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """backend + precision + recipe + device + instances + threads + model. Empty or 0: not known yet."""

    backend: str = ""
    precision: str = ""
    recipe: str = ""
    device: str = ""
    model: str = ""
    instances: int = 0
    threads: int = 0

    @property
    def cell(self) -> str:
        """Backend, precision and recipe, for example `onnx·int8·dynamic`; the plain recipe is left out."""
        recipe = self.recipe if self.recipe != PLAIN else ""
        return "·".join(part for part in (self.backend, self.precision, recipe) if part)

    def over(self, earlier: "Deployment") -> "Deployment":
        """Returns this deployment with its empty fields taken from `earlier`; a recipe only of the same cell."""
        same_cell = (self.backend or earlier.backend, self.precision or earlier.precision) == (
            earlier.backend,
            earlier.precision,
        )
        return Deployment(
            self.backend or earlier.backend,
            self.precision or earlier.precision,
            self.recipe or (earlier.recipe if same_cell else ""),
            self.device or earlier.device,
            self.model or earlier.model,
            self.instances or earlier.instances,
            self.threads or earlier.threads,
        )


@dataclass(frozen=True, slots=True)
class Notice:
    """A deviation from the request, such as a fallback. The texts come from the engine's rule table."""

    code: str
    message: str
    fix: str = ""

    @property
    def sentence(self) -> str:
        """The message, and the fix if there is one."""
        return f"{self.message}: {self.fix}" if self.fix else self.message


class EngineState(StrEnum):
    """State of the engine process."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    SWITCHING = "switching"
    DRAINING = "draining"
    LOST = "lost"
    """The engine exited or stopped answering unexpectedly."""


DOWN = frozenset({EngineState.STOPPED, EngineState.LOST})
"""The states in which no engine answers and one can be started."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A step of start-up or of a switch. `total` 0: the number of parts is not known."""

    name: str
    message: str = ""
    done: int = 0
    total: int = 0
    elapsed_s: float = 0.0

    @property
    def detail(self) -> str:
        """The message without the phase's name, if it begins with it: `onnx fp32` of `loading onnx fp32`."""
        first, _, others = self.message.partition(" ")
        return others if first.rstrip(":").casefold() == self.name.casefold() else self.message

    @property
    def summary(self) -> str:
        """Name, count and message, with no word twice: `loading onnx fp32`, `verifying 1/2: comparing 24 texts`."""
        count = f" {self.done}/{self.total}" if self.total else ""
        if not self.detail:
            return f"{self.name}{count}"
        return f"{self.name}{count}{':' if self.detail == self.message else ''} {self.detail}"


@dataclass(frozen=True, slots=True)
class Batching:
    """The engine's current batching knobs."""

    max_batch_tokens: int = 0
    max_batch_items: int = 0
    max_wait_ms: float = 0.0
    coalesce: bool = True


@dataclass(frozen=True, slots=True)
class ServingPlan:
    """The values that `auto` resolves to on the engine's machine. 0: the engine does not report it."""

    instances: int = 0
    threads: int = 0
    max_batch_tokens: int = 0
    max_batch_items: int = 0
    pass_cost_tokens: int = 0
    texts_per_s: float = 0.0
    """Measured by tuning, without a server; 0 if the plan is a default."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The engine's machine, as the engine reports it. Empty or 0: not known."""

    host_name: str = ""
    platform: str = ""
    system: str = ""
    isa: tuple[str, ...] = ()
    memory_bytes: int = 0
    governor: str = ""
    gpu_model: str = ""
    gpu_driver: str = ""
    python: str = ""
    packages: tuple[tuple[str, str], ...] = ()
    """(name, version), sorted by name."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Facts from the model's files."""

    id: str = ""
    dim: int = 0
    max_tokens: int = 0
    pooling: str = ""
    normalize: bool = False
    weights_sha256: str = ""
    fingerprint: str = ""
    """Digest of every file that affects the vectors, including the tokenizer's."""


@dataclass(frozen=True, slots=True)
class Engine:
    """The last known state of the engine."""

    state: EngineState = EngineState.STOPPED
    address: str = ""
    pid: int = 0
    remote: bool = False
    """This console connected to the engine and did not start it, so it cannot stop or restart it."""
    uptime_s: float = 0.0
    phase: Phase | None = None
    """The current step while STARTING or SWITCHING."""
    message: str = ""
    """When LOST, or after a failed start: the reason and the next step."""
    requested: Deployment = field(default_factory=Deployment)
    effective: Deployment = field(default_factory=Deployment)
    evidence: str = ""
    warnings: tuple[Notice, ...] = ()
    epoch: int = 0
    model: ModelCard = field(default_factory=ModelCard)
    batching: Batching = field(default_factory=Batching)
    plan: ServingPlan = field(default_factory=ServingPlan)
    cores: int = 0
    cpu_model: str = ""
    machine: Machine = field(default_factory=Machine)
    rss_bytes: int = 0
    cpu_cores: float = 0.0
    """CPU use over the last interval: 1.0 is one core busy."""
    queued_items: int = 0
    queued_tokens: int = 0
    in_flight_requests: int = 0
    oldest_in_flight_s: float = 0.0
    idle_instances: int = 0
    last_frame_age_s: float = 0.0
    """Time since the engine's last message."""
    never_answered: bool = False
    """LOST, and no engine has answered at the address since this console connected to it."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """The options of `engine serve` to start an engine with. Empty or 0 means `auto`."""

    model: str = ""
    backend: str = ""
    precision: str = ""
    recipe: str = ""
    device: str = ""
    instances: int = 0
    threads: int = 0
    strict: bool = False
    coalesce: bool = True
    port: int = 0
    max_batch_tokens: int = 0
    max_batch_items: int = 0
    max_wait_ms: float = 0.0


class CellState(StrEnum):
    """How a cell runs, by the engine's capability rules."""

    NATIVE = "native"
    SLOW = "slow"
    FALLS_BACK = "falls_back"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"
    """A state that this version of the console does not know."""


@dataclass(frozen=True, slots=True)
class CapabilityCell:
    """One cell of the capability matrix, as the engine reports it."""

    backend: str
    precision: str
    device: str
    state: CellState
    recipe: str = ""
    effective: Deployment = field(default_factory=Deployment)
    reason: str = ""
    fix: str = ""
    texts_per_s: float | None = None
    fidelity: float | None = None
