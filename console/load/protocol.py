"""What crosses the pipe between a session and its load driver: one JSON object a line.

Times are seconds on `time.monotonic()`. On Linux and macOS that clock is the machine's, the same in every process, so
the session maps them to its own axis by subtracting its start. Histograms are HdrHistogram V2, compressed, base64, of
whole microseconds.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from console.model.load import LoadSpec


@dataclass(frozen=True, slots=True)
class Answers:
    """Successful requests, counted. `latency` is None when there was none."""

    requests: int = 0
    texts: int = 0
    latency: str | None = None
    latency_sum_us: int = 0


@dataclass(frozen=True, slots=True)
class Interval:
    """About one second of load, whole: what every figure is computed from."""

    index: int
    start_s: float
    duration_s: float
    answers: Answers
    pairs: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    """Requests that finally failed, by gRPC code name (or BAD_REPLY)."""
    retries: int = 0
    truncated: int = 0
    tokens: int = 0
    in_flight: int = 0
    cpu_cores: float = 0.0
    """CPU of the driver itself: 1.0 is one core busy."""
    mean_in_flight: float = 0.0
    """Requests in flight, averaged over the interval's time; in an open loop from when they were scheduled."""
    send_lag: str | None = None
    """Open loop: histogram of sent − scheduled; None when nothing was sent."""
    arrivals: int = 0
    """Open loop: requests whose time came, sent or dropped."""
    dropped: int = 0
    """Open loop: arrivals that were not sent, because too many requests were unanswered."""
    first_completion_s: float | None = None
    last_completion_s: float | None = None
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    """Mean server time of a request by stage: queue, tokenize, infer, serialize."""
    epochs: Mapping[str, Answers] = field(default_factory=dict)
    deployments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By epoch: the deployment as the responses named it."""
    last_error: str = ""
    """The newest failure's code and sentence, as the engine wrote it."""

    @property
    def end_s(self) -> float:
        return self.start_s + self.duration_s


@dataclass(frozen=True, slots=True)
class Tick:
    """Cumulative counters since the load started, ten times a second: what makes figures move."""

    time_s: float
    requests: int = 0
    texts: int = 0
    errors: int = 0
    retries: int = 0
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class Ready:
    """The driver reads commands."""

    pid: int


@dataclass(frozen=True, slots=True)
class Started:
    """The callers are running. `texts` is the corpus' size, `spec` what they send."""

    time_s: float
    corpus: str
    texts: int
    spec: LoadSpec = field(default_factory=LoadSpec)
    command_id: int = 0


@dataclass(frozen=True, slots=True)
class Changed:
    """The new specification is in force for every request from now on."""

    time_s: float
    texts: int
    spec: LoadSpec = field(default_factory=LoadSpec)
    command_id: int = 0


@dataclass(frozen=True, slots=True)
class Refused:
    """A command could not be carried out (an unreadable corpus, say); what ran before runs on."""

    message: str
    command_id: int = 0
    """0: of a line that is no command."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """No request is in flight any more. `abandoned`: those that outlived the patience of the stop."""

    time_s: float
    requests: int
    texts: int
    errors: Mapping[str, int]
    abandoned: int = 0


Event = Ready | Started | Changed | Refused | Stopped | Tick | Interval
_EVENTS: dict[str, type[Event]] = {
    "ready": Ready,
    "started": Started,
    "changed": Changed,
    "refused": Refused,
    "stopped": Stopped,
    "tick": Tick,
    "interval": Interval,
}
_NAMES = {kind: name for name, kind in _EVENTS.items()}


def encode_event(event: Event) -> bytes:
    """One line, newline included."""
    return json.dumps({"event": _NAMES[type(event)], **asdict(event)}, separators=(",", ":")).encode() + b"\n"


def decode_event(line: bytes) -> Event:
    """Raises ValueError for a line that is not an event."""
    try:
        values = json.loads(line)
        kind = _EVENTS[values.pop("event")]
        if kind is Interval:
            values["answers"] = Answers(**values["answers"])
            values["epochs"] = {epoch: Answers(**answers) for epoch, answers in values["epochs"].items()}
        if "spec" in values:
            values["spec"] = LoadSpec(**values["spec"])
        return kind(**values)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an event of the load driver: {error}") from error


@dataclass(frozen=True, slots=True)
class Start:
    """Starts the load on `target` (host:port)."""

    target: str
    spec: LoadSpec
    max_text_bytes: int = 0
    """The engine's own limit, where known: a corpus over it is refused before it is sent. 0: not known."""
    command_id: int = 0
    """Returns in the answer to this command, so that no caller takes another one's answer."""


@dataclass(frozen=True, slots=True)
class Change:
    """Changes what is sent, without losing a request."""

    spec: LoadSpec
    command_id: int = 0
    """As in Start."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Lets the requests in flight finish, then reports Stopped."""


Command = Start | Change | Stop
_COMMANDS: dict[str, type[Command]] = {"start": Start, "change": Change, "stop": Stop}
_COMMAND_NAMES = {kind: name for name, kind in _COMMANDS.items()}


def encode_command(command: Command) -> bytes:
    """One line, newline included."""
    return json.dumps({"command": _COMMAND_NAMES[type(command)], **asdict(command)}).encode() + b"\n"


def decode_command(line: bytes) -> Command:
    """Raises ValueError for a line that is not a command."""
    try:
        values = json.loads(line)
        kind = _COMMANDS[values.pop("command")]
        if "spec" in values:
            values["spec"] = LoadSpec(**values["spec"])
        return kind(**values)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a command of the load driver: {error}") from error
