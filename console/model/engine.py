"""What an engine says of itself and of where it runs: its knobs, its plan, its machine, its model."""

from dataclasses import dataclass


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
