"""Admission, queue, batching and instance threads. Imports neither gRPC nor a runtime."""

from engine.scheduling.admission import Admission, AdmissionLimits, Reservation
from engine.scheduling.contract import BatchObserver, BatchPolicy, BatchRecord, Executor, JobResult, TokenIds, Vectors
from engine.scheduling.health import Health, Readiness
from engine.scheduling.inline import InlinePolicy
from engine.scheduling.job import Job
from engine.scheduling.scheduler import Scheduler

__all__ = [
    "Admission",
    "AdmissionLimits",
    "BatchObserver",
    "BatchPolicy",
    "BatchRecord",
    "Executor",
    "Health",
    "InlinePolicy",
    "Job",
    "JobResult",
    "Readiness",
    "Reservation",
    "Scheduler",
    "TokenIds",
    "Vectors",
]
