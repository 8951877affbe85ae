"""Runs `engine serve`: from parsed options to the exit code."""

import asyncio
import os
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.artifacts.calibration import calibration_from
from engine.deployment.target import Target
from engine.errors import EngineError, InvalidRequest, NoSuchCell, NoSuchModel
from engine.exit_codes import ExitCode
from engine.host.faults import FaultFile, InvalidFaults
from engine.host.os_errors import describe
from engine.host.reporting import Reporter
from engine.scheduling import PassLimits
from engine.server.end import end_process
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
        return _run(_options(flags), reporter)
    except CannotStart as error:
        reporter.error(error.code, str(error), error.fix)
        return ExitCode.FAILED
    except (InvalidRequest, InvalidFaults) as error:
        reporter.error("usage", str(error))
        return ExitCode.USAGE
    except NoSuchCell as error:
        reporter.error("cannot_run", str(error))
        return ExitCode.FAILED
    except NoSuchModel as error:
        reporter.error("no_model", str(error))
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


def _run(options: ServeOptions, reporter: Reporter) -> ExitCode:
    if options.faults is not None:
        reporter.log("warning", f"faults are injected from {options.faults.path}: for tests only")

    async def serve() -> ExitCode:
        return await EngineServer(options, reporter, on_ended=end_process).run()

    try:
        import uvloop
    except ImportError:  # not on Windows
        return asyncio.run(serve())
    return uvloop.run(serve())


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
        pass_limits=PassLimits(fixed_s=flags["max_pass_s"] or None),
        grace_s=flags["grace_s"],
        probe_idle_s=flags["probe_idle_s"],
        faults=FaultFile.from_environment(os.environ, allowed=flags["allow_faults"]),
        batching=batching,
    )  # fmt: skip
