"""Every way a request or a switch can fail, as types. `service/status.py` alone maps them to gRPC codes.

Messages are for the person at the other end: they say what to do next and never contain input text.
"""


class EngineError(Exception):
    """Base of all: a fault of the engine itself unless a subclass says otherwise (INTERNAL)."""


class InvalidRequest(EngineError):
    """Bad input, or over a per-request limit (INVALID_ARGUMENT)."""


class Overloaded(EngineError):
    """The queue is full (RESOURCE_EXHAUSTED). `retry_after_s` is None when retrying cannot help."""

    def __init__(self, message: str, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Expired(EngineError):
    """The deadline passed while the text was queued (DEADLINE_EXCEEDED)."""


class Cancelled(EngineError):
    """The caller left while the text was queued (CANCELLED)."""


class PoisonedText(EngineError):
    """One text's forward pass failed or gave a non-finite vector (INTERNAL). `position` is its place in the request."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"text {position}: {reason}; the other texts are unaffected, send them without it")
        self.position = position


class Unavailable(EngineError):
    """Draining, or the instance was lost: retry later or elsewhere (UNAVAILABLE)."""


class CannotSwitch(EngineError):
    """That deployment cannot run here; what was live goes on serving (FAILED_PRECONDITION)."""


class SwitchInProgress(EngineError):
    """Another switch is under way (ABORTED)."""


class ModelError(EngineError):
    """The model's files are missing, incomplete or of an unsupported kind. Raised at start-up or in a switch."""
