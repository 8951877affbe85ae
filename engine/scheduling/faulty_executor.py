"""An executor into which faults are injected, so that tests can break a real engine."""

import logging
import threading
from collections.abc import Sequence

import numpy as np

from engine.host.faults import FaultFile, FaultKind
from engine.scheduling.contract import Executor, ModelOutput, TokenIds, Vectors

_log = logging.getLogger(__name__)

OVERFLOWING_NORM = 1e30
"""Finite as float32, infinite as float16."""


class ThreadKilled(BaseException):
    """Ends the thread of an instance: no Exception, so that nothing takes it for a text that fails."""


class FaultyExecutor:
    """Runs an executor, or injects the fault that the file holds for the pass."""

    def __init__(self, executor: Executor, faults: FaultFile) -> None:
        self._executor = executor
        self._faults = faults

    def __call__(self, texts: Sequence[TokenIds]) -> ModelOutput | Vectors:
        """Runs one batch. Raises what the injected fault raises."""
        fault = self._faults.next(
            inline=threading.current_thread() is threading.main_thread(),
            texts=len(texts),
            padded_tokens=len(texts) * max(map(len, texts), default=0),
        )
        if fault is None:
            return self._executor(texts)
        _log.warning("injecting the fault %s into a forward pass of %d texts", fault, len(texts))
        if fault is FaultKind.HANG:
            threading.Event().wait()
        if fault is FaultKind.RAISE:
            raise RuntimeError("an injected fault")
        if fault is FaultKind.OUT_OF_MEMORY:
            raise MemoryError("an injected fault")
        if fault is FaultKind.KILL_THREAD:
            raise ThreadKilled
        vectors = self._executor(texts).in_order()
        unit, norms = vectors.unit.copy(), vectors.norms.copy()
        if fault is FaultKind.NAN:
            unit[:, 0] = np.nan
        if fault is FaultKind.OVERFLOW:
            norms[:] = OVERFLOWING_NORM
        return Vectors(unit, norms)
