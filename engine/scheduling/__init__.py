"""Queue, admission, batch forming and instance threads. Knows nothing of gRPC or of any runtime."""

from engine.scheduling.admission import Admission, AdmissionLimits, Reservation
from engine.scheduling.health import Health, Readiness
from engine.scheduling.job import Job
from engine.scheduling.lone import LoneTexts
from engine.scheduling.scheduler import Scheduler
from engine.scheduling.work import (
    BatchObserver,
    BatchPolicy,
    BatchRecord,
    Executor,
    JobResult,
    TokenIds,
    Vectors,
)

__all__ = [
    "Admission",
    "AdmissionLimits",
    "BatchObserver",
    "BatchPolicy",
    "BatchRecord",
    "Executor",
    "Health",
    "Job",
    "JobResult",
    "LoneTexts",
    "Readiness",
    "Reservation",
    "Scheduler",
    "TokenIds",
    "Vectors",
]
