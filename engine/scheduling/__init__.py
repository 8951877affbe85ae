"""Admission, queue, batching and instance threads. Imports neither gRPC nor a runtime."""

from engine.scheduling.admission import Admission, AdmissionLimits, Reservation
from engine.scheduling.contract import BatchObserver, BatchPolicy, BatchRecord, Executor, JobResult, TokenIds, Vectors
from engine.scheduling.faulty_executor import FaultyExecutor
from engine.scheduling.health import Health, ProbeSchedule, Readiness
from engine.scheduling.inline import InlinePolicy
from engine.scheduling.job import Job
from engine.scheduling.scheduler import Scheduler
from engine.scheduling.watchdog import PassLimits, Watchdog

__all__ = [
    "Admission",
    "AdmissionLimits",
    "BatchObserver",
    "BatchPolicy",
    "BatchRecord",
    "Executor",
    "FaultyExecutor",
    "Health",
    "InlinePolicy",
    "Job",
    "JobResult",
    "PassLimits",
    "ProbeSchedule",
    "Readiness",
    "Reservation",
    "Scheduler",
    "TokenIds",
    "Vectors",
    "Watchdog",
]
