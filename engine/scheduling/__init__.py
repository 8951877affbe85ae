"""Queue, admission, batch forming and instance threads. Knows nothing of gRPC or of any runtime."""

from engine.scheduling.admission import Admission, AdmissionLimits, Reservation
from engine.scheduling.lone import LoneTexts
from engine.scheduling.scheduler import Job, Scheduler
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
    "Job",
    "JobResult",
    "LoneTexts",
    "Reservation",
    "Scheduler",
    "TokenIds",
    "Vectors",
]
