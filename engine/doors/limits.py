"""Every limit of what a client controls: requests, queue, messages, connections, batching options."""

from dataclasses import dataclass, field

from engine.doors.inbound import WireLimits
from engine.pipeline.embedding import RequestLimits
from engine.scheduling import AdmissionLimits
from engine.tuning.plan import BatchLimits


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """The limits of an engine, all of them settings of `engine serve` and all in Status."""

    request: RequestLimits = field(default_factory=RequestLimits)
    queue: AdmissionLimits = field(default_factory=AdmissionLimits)
    wire: WireLimits = field(default_factory=WireLimits)
    batching: BatchLimits = field(default_factory=BatchLimits)
