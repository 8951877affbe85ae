"""The errors of requests and switches. Only `engine/doors/errors.py` maps them to gRPC codes.

Messages are for the caller: they name the next step and never contain input text.
"""


class EngineError(Exception):
    """The base class. Without a more specific subclass: a fault of the engine itself (INTERNAL)."""


class InvalidRequest(EngineError):
    """The input is invalid, or exceeds a limit of one request (INVALID_ARGUMENT)."""


class Overloaded(EngineError):
    """The queue is full (RESOURCE_EXHAUSTED). `retry_after_s` is None if a retry cannot succeed."""

    def __init__(self, message: str, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class OutOfMemory(Overloaded):
    """Memory ran out in the forward pass of a text, and again in a smaller one (RESOURCE_EXHAUSTED)."""

    def __init__(self, position: int, retry_after_s: float) -> None:
        super().__init__(
            f"text {position}: memory ran out in its forward pass, twice: retry in {retry_after_s:.2f} s, and send "
            "fewer or shorter texts",
            retry_after_s,
        )


class Expired(EngineError):
    """The deadline passed while the text was queued (DEADLINE_EXCEEDED)."""


class Cancelled(EngineError):
    """The caller cancelled while the text was queued (CANCELLED)."""


class PoisonedText(EngineError):
    """The forward pass of one text failed or was not finite (INTERNAL). `position`: its index in the request."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"text {position}: {reason}; the other texts are unaffected, send them without it")
        self.position = position


class Unavailable(EngineError):
    """The engine drains, or an instance was lost (UNAVAILABLE): retry later or on another engine."""


class CannotSwitch(EngineError):
    """The deployment cannot run here (FAILED_PRECONDITION). The live deployment keeps serving."""


class NoSuchCell(CannotSwitch):
    """This platform cannot run the named cell, or `strict` refuses its fallback: known before anything is loaded."""


class SwitchInProgress(EngineError):
    """Another switch is in progress (ABORTED)."""


class ModelError(EngineError):
    """A start or a switch found the model's files missing, incomplete or unsupported (FAILED_PRECONDITION)."""


class NoSuchModel(ModelError):
    """The name is neither a folder nor a model of the hub."""
