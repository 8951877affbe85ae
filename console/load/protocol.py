"""The messages between a session and its load generator: one JSON object a line.

Times are seconds of `time.monotonic()`. On Linux and macOS all processes of a machine share that clock, so the session
converts them to its own time by subtracting its start. Histograms are HdrHistogram V2 in whole microseconds,
compressed and encoded as base64.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from console.model.load import LoadSpec


@dataclass(frozen=True, slots=True)
class Answers:
    """Counts and latencies of successful requests. `latency` is None without requests."""

    requests: int = 0
    texts: int = 0
    latency: str | None = None
    latency_sum_us: int = 0


@dataclass(frozen=True, slots=True)
class Interval:
    """The measurements of about one second of load, from which all metrics are computed."""

    index: int
    start_s: float
    duration_s: float
    answers: Answers
    pairs: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    """Requests that finally failed, by the gRPC code's name (or BAD_REPLY)."""
    retries: int = 0
    truncated: int = 0
    tokens: int = 0
    in_flight: int = 0
    cpu_cores: float = 0.0
    """CPU use of the load generator: 1.0 is one core."""
    mean_in_flight: float = 0.0
    """Requests in flight, averaged over the interval's time; in an open loop they count from their scheduled time."""
    send_lag: str | None = None
    """Open loop: histogram of sent − scheduled; None if nothing was sent."""
    arrivals: int = 0
    """Open loop: requests that became due, sent or dropped."""
    dropped: int = 0
    """Open loop: arrivals that were not sent, because `max_in_flight` requests were unanswered."""
    first_completion_s: float | None = None
    last_completion_s: float | None = None
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    """Mean server time of a request by stage: queue, tokenize, infer, serialize."""
    epochs: Mapping[str, Answers] = field(default_factory=dict)
    deployments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The deployment named in the responses, by epoch."""
    last_error: str = ""
    """Code and message of the last failure."""

    @property
    def end_s(self) -> float:
        return self.start_s + self.duration_s


@dataclass(frozen=True, slots=True)
class Tick:
    """Cumulative counters since the load started, emitted ten times a second."""

    time_s: float
    requests: int = 0
    texts: int = 0
    errors: int = 0
    retries: int = 0
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class Ready:
    """The process is ready to read commands."""

    pid: int


@dataclass(frozen=True, slots=True)
class Started:
    """The load has started. `texts` is the number of texts in the corpus."""

    time_s: float
    corpus: str
    texts: int
    spec: LoadSpec = field(default_factory=LoadSpec)
    command_id: int = 0


@dataclass(frozen=True, slots=True)
class Changed:
    """The new specification applies to every request from now on."""

    time_s: float
    texts: int
    spec: LoadSpec = field(default_factory=LoadSpec)
    command_id: int = 0


@dataclass(frozen=True, slots=True)
class Refused:
    """A command failed, for example because of an unreadable corpus. A running load is not affected."""

    message: str
    command_id: int = 0
    """0 if the line was not a command."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The load has stopped. `abandoned`: requests that were in flight at the timeout and were cancelled."""

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
    """Returns the event as one line, with its newline."""
    return json.dumps({"event": _NAMES[type(event)], **asdict(event)}, separators=(",", ":")).encode() + b"\n"


def decode_event(line: bytes) -> Event:
    """Parses a line. Raises ValueError if it is not an event."""
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
        raise ValueError(f"not an event of the load generator: {error}") from error


@dataclass(frozen=True, slots=True)
class Start:
    """Starts the load on `target` (host:port)."""

    target: str
    spec: LoadSpec
    max_text_bytes: int = 0
    """The engine's limit: a corpus with a longer text is refused before it is sent. 0: not known."""
    command_id: int = 0
    """Repeated in the response, which assigns it to this command."""


@dataclass(frozen=True, slots=True)
class Change:
    """Changes the running load without losing a request."""

    spec: LoadSpec
    command_id: int = 0
    """As in Start."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Stops the load: waits for the requests in flight, then emits Stopped."""


Command = Start | Change | Stop
_COMMANDS: dict[str, type[Command]] = {"start": Start, "change": Change, "stop": Stop}
_COMMAND_NAMES = {kind: name for name, kind in _COMMANDS.items()}


def encode_command(command: Command) -> bytes:
    """Returns the command as one line, with its newline."""
    return json.dumps({"command": _COMMAND_NAMES[type(command)], **asdict(command)}).encode() + b"\n"


def decode_command(line: bytes) -> Command:
    """Parses a line. Raises ValueError if it is not a command."""
    try:
        values = json.loads(line)
        kind = _COMMANDS[values.pop("command")]
        if "spec" in values:
            values["spec"] = LoadSpec(**values["spec"])
        return kind(**values)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a command of the load generator: {error}") from error
