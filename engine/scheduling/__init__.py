"""Queue, admission, batch forming and instance threads. Knows nothing of gRPC or of any runtime."""

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
