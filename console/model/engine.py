"""What an engine says of itself and of where it runs: its knobs, its plan, its machine, its model."""

from dataclasses import dataclass, field
from enum import StrEnum

PLAIN = "plain"
"""The recipe that changes nothing."""


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
        """`onnx·int8·dynamic`; the plain way, as fp32 has it, needs no name."""
        recipe = self.recipe if self.recipe != PLAIN else ""
        return "·".join(part for part in (self.backend, self.precision, recipe) if part)


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the engine did otherwise than asked, in the sentence its rule table wrote."""

    code: str
    message: str
    fix: str = ""


class EngineState(StrEnum):
    """What the session knows of the engine process."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    SWITCHING = "switching"
    DRAINING = "draining"
    LOST = "lost"
    """It ended, or stopped answering, without being asked."""


DOWN = frozenset({EngineState.STOPPED, EngineState.LOST})
"""The states in which no engine answers, and one can be started."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A step of start-up or of a switch. `total` 0: no count is known."""

    name: str
    message: str = ""
    done: int = 0
    total: int = 0
    elapsed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Batching:
    """The engine's live batching knobs."""

    max_batch_tokens: int = 0
    max_batch_items: int = 0
    max_wait_ms: float = 0.0
    coalesce: bool = True


@dataclass(frozen=True, slots=True)
class ServingPlan:
    """What `auto` stands for on the engine's machine. No counts: the engine does not say."""

    instances: int = 0
    threads: int = 0
    max_batch_tokens: int = 0
    max_batch_items: int = 0
    pass_cost_tokens: int = 0
    texts_per_s: float = 0.0
    """Measured when the cell was tuned, without a server; 0 for a rule of thumb."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the engine runs, as it says itself. Empty or 0: not known."""

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
    """(name, version), in the order of the alphabet."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What the model's own files say."""

    id: str = ""
    dim: int = 0
    max_tokens: int = 0
    pooling: str = ""
    normalize: bool = False
    weights_sha256: str = ""
    fingerprint: str = ""
    """Of every file that decides the vectors, the tokenizer's included."""


@dataclass(frozen=True, slots=True)
class Engine:
    """The engine as last heard of."""

    state: EngineState = EngineState.STOPPED
    address: str = ""
    pid: int = 0
    remote: bool = False
    """Connected to, not started by this console: it cannot be stopped or restarted from here."""
    uptime_s: float = 0.0
    phase: Phase | None = None
    """While STARTING or SWITCHING: what it is doing now."""
    message: str = ""
    """One sentence on how it got here when LOST or when a start failed, with the next step."""
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
    """How long the engine has said nothing."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """How to start an engine: `engine serve`'s flags. Empty or 0 means `auto`."""

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
    """What the capability rules say of a cell."""

    NATIVE = "native"
    SLOW = "slow"
    FALLS_BACK = "falls_back"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"
    """The engine says something that this console does not know."""


@dataclass(frozen=True, slots=True)
class CapabilityCell:
    """One cell of the matrix, as the engine's rule table wrote it."""

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
