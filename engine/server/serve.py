"""Runs `engine serve`: from parsed options to the exit code."""

import asyncio
import os
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.artifacts.calibration import calibration_from
from engine.deployment.target import Target
from engine.errors import CannotSwitch, EngineError, InvalidRequest
from engine.exit_codes import ExitCode
from engine.host.os_errors import describe
from engine.host.reporting import Reporter
from engine.server.limits import limits_from
from engine.server.process import CannotStart, EngineServer, ServeOptions
from engine.tuning.plan import BatchOverrides


def run_server(flags: Mapping[str, Any]) -> int:
    """Runs the engine until it ends. Returns the exit code; an error is reported on stderr."""
    # `tokenizers` reads this at its first use. Its thread pool would compete with the instances for the cores.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    reporter = Reporter()
    reporter.capture_logging()
    reporter.phase("starting", "binding the address")
    try:
        _run(_options(flags), reporter)
    except CannotStart as error:
        reporter.error(error.code, str(error), error.fix)
        return ExitCode.FAILED
    except InvalidRequest as error:
        reporter.error("usage", str(error))
        return ExitCode.USAGE
    except CannotSwitch as error:
        reporter.error("cannot_run", str(error))
        return ExitCode.FAILED
    except EngineError as error:
        reporter.error("failed", str(error))
        return ExitCode.FAILED
    except OSError as error:
        reporter.error("failed", f"the engine cannot start: {describe(error)}")
        return ExitCode.FAILED
    except Exception as error:  # an internal error: reported as an event too, with its place in the code
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{where.name}, {Path(where.filename).name}:{where.lineno}"
        fault = f"internal error of the engine: {type(error).__name__} in {place}"
        reporter.error("fault", fault, "report it, with this line")
        return ExitCode.FAILED
    return 0


def _run(options: ServeOptions, reporter: Reporter) -> None:
    async def serve() -> None:
        await EngineServer(options, reporter).run()

    try:
        import uvloop
    except ImportError:  # not on Windows
        asyncio.run(serve())
    else:
        uvloop.run(serve())


def _options(flags: Mapping[str, Any]) -> ServeOptions:
    batching = BatchOverrides(
        max_batch_tokens=flags["max_batch_tokens"] or None,
        max_batch_items=flags["max_batch_items"] or None,
        max_wait_s=flags["max_wait_ms"] / 1e3,
        coalesce=flags["coalesce"] == "on",
    )
    limits = limits_from(flags)
    batching.check(limits.batching)
    return ServeOptions(
        host=flags["host"],
        port=flags["port"],
        target=Target(
            flags["backend"], flags["precision"], flags["recipe"], flags["device"], flags["model"],
            flags["instances"], flags["threads"],
        ),
        lifeline=flags["lifeline"] == "stdin",
        strict=flags["strict"],
        tune=flags["tune"],
        limits=limits,
        calibration=calibration_from(flags["calibration"]) if flags["calibration"] else None,
        batching=batching,
    )  # fmt: skip
