"""The end of the process at once, whatever hangs in it."""

import os
import sys
import threading

from engine.exit_codes import ExitCode

WRITE_LIMIT_S = 1.0
"""How long the last line may take to write, in seconds: a reader that hangs must not keep the process alive. Chosen."""


def end_process(code: ExitCode) -> None:
    """Ends the process after its normal end. Does not wait for threads, which may hang.

    Open connections are closed by the system: a call that arrives at the last moment fails with UNAVAILABLE. After
    `grpc.aio.Server.stop` it would fail with CANCELLED, which no client retries.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def end_process_with(code: ExitCode, line: str) -> None:
    """Ends the process from any thread, with a last line on stderr. Bypasses locks that hung threads may hold."""
    writer = threading.Thread(target=os.write, args=(2, f"{line}\n".encode()), daemon=True)
    writer.start()
    writer.join(WRITE_LIMIT_S)
    os._exit(code)
