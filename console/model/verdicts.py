"""The verdicts of a run: their marks and words, and the exit code that they give."""

from collections.abc import Collection
from enum import StrEnum

from console.model.exit_codes import ExitCode


class Verdict(StrEnum):
    """The verdict on a run that has ended. If several apply, the later one in this list holds."""

    OK = "ok"
    TOO_SHORT = "too_short"
    """Not judged only because the run was too short."""
    UNSTABLE = "unstable"
    ERRORS = "errors"
    """More requests failed, were refused or were dropped than MAX_ERROR_SHARE allows."""
    CLIENT_BOUND = "client_bound"
    FAILED = "failed"


UNFINISHED = "unfinished"
"""In place of a verdict: the run has no end, and nothing measures it any more."""
RUNNING = "running"
"""In place of a verdict: the run is being measured."""
NOT_ENDED = frozenset({UNFINISHED, RUNNING})
WORST_FIRST = tuple(str(one) for one in reversed(Verdict))
NOT_STEADY = frozenset({str(Verdict.TOO_SHORT), str(Verdict.UNSTABLE)})

MARKS = {
    "ok": "✓", "too_short": "~", "unstable": "~", "errors": "✗", "client_bound": "!", "failed": "✗", UNFINISHED: "…",
    RUNNING: "▶",
}  # fmt: skip
"""The mark of each verdict; the word follows where there is room."""

_EXIT_CODES = (
    (Verdict.FAILED, ExitCode.ENGINE_FAILED),
    (UNFINISHED, ExitCode.ENGINE_FAILED),
    (Verdict.CLIENT_BOUND, ExitCode.CLIENT_BOUND),
    (Verdict.ERRORS, ExitCode.ERRORS),
    (Verdict.UNSTABLE, ExitCode.UNSTABLE),
    (Verdict.TOO_SHORT, ExitCode.UNSTABLE),
)
"""In the order of the contract: the first that applies."""


def verdict_word(verdict: str) -> str:
    """Returns the verdict as shown to users: `too short`, `client bound`."""
    return verdict.replace("_", " ")


def exit_code_of(verdicts: Collection[str], *, slo_missed: bool = False) -> ExitCode:
    """Returns the first exit code of the contract that applies to runs with these verdicts."""
    for verdict, code in _EXIT_CODES:
        if verdict in verdicts:
            return code
    return ExitCode.SLO_MISSED if slo_missed else ExitCode.OK
