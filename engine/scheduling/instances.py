"""The instances of a scheduler: their start, their replacement after a thread was lost or hangs, and their end."""

import logging
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

from engine.host.memory import resident_bytes
from engine.scheduling.contract import Executor, TokenIds
from engine.scheduling.dispatch import Dispatch
from engine.scheduling.instance import Instance, InstanceListener
from engine.scheduling.pass_cost import PassCost
from engine.scheduling.queue import Batch
from engine.scheduling.watchdog import PassLimits

_log = logging.getLogger(__name__)

MAX_ABANDONED = 4
"""Hung threads of a deployment that are replaced. Each keeps its memory, so a device that hangs in every pass must not
get new threads forever. Chosen."""

LOST_REASON = "an internal error of the engine lost this request: send it again"
HUNG_REASON = "the forward pass of this request hung and was given up: send it again"


class InstancesOwner(InstanceListener, Protocol):
    """Callbacks of the instances: those of their threads, and those in the event loop's thread."""

    @property
    def has_jobs(self) -> bool:
        """Whether a request is unanswered."""
        ...

    def on_batch_lost(self, batch: Batch, reason: str) -> None:
        """Called when the result of a batch will never arrive."""
        ...

    def on_instance_lost(self, *, hung: bool) -> None:
        """Called after an instance was lost, and replaced if that was possible."""
        ...

    def on_all_exited(self) -> None:
        """Called when no instance is left."""
        ...


class Instances:
    """The instances of one scheduler. Used from the event loop's thread, except where a method says otherwise."""

    def __init__(
        self,
        executors: Sequence[Executor],
        dispatch: Dispatch,
        owner: InstancesOwner,
        *,
        name: str,
        clock: Callable[[], float],
        cores: Sequence[int | None] | None,
        make_executor: Callable[[], Executor] | None,
        limits: PassLimits,
    ) -> None:
        """`make_executor`: makes an executor in place of one that hangs; None: there can be no other."""
        self.cost = PassCost()
        """The measured cost of passes, from which the limit of a pass follows."""
        self._dispatch = dispatch
        self._owner = owner
        self._limits = limits
        self._abandoned: list[Instance] = []
        self._instances = [
            Instance(
                make_executor or _cannot_make_executor, dispatch, owner, name=f"{name}/{index}", clock=clock,
                core=core, executor=executor,
            )
            for index, (executor, core) in enumerate(zip(executors, cores or [None] * len(executors), strict=True))
        ]  # fmt: skip

    def __len__(self) -> int:
        return len(self._instances)

    @property
    def abandoned_threads(self) -> int:
        """Threads that hang and were given up."""
        return len(self._abandoned)

    @property
    def any_responsive(self) -> bool:
        """Whether there is an instance of which a pass has ended."""
        return any(instance.is_responsive for instance in self._instances)

    @property
    def inline_executor(self) -> Executor:
        """The executor for inline passes, while every instance waits."""
        return self._instances[0].executor

    def start(self) -> None:
        """Starts every thread. Raises RuntimeError if the system cannot create one."""
        for instance in self._instances:
            instance.start()

    def exited(self, instance: Instance, current_batch: Batch | None, fault: BaseException | None) -> None:
        """Joins a thread that has ended. If it was lost, gives up its batch and replaces it."""
        instance.join()
        if instance in self._abandoned:
            self._abandoned.remove(instance)
            _log.warning("instance %s hangs no longer: its memory can be freed", instance.name)
            return
        self._instances.remove(instance)
        if fault is not None:
            _log.critical("instance %s was lost", instance.name, exc_info=fault)
            # One that failed before its first batch would fail again.
            replace = instance.has_taken_batch or (self._dispatch.is_broken and self._owner.has_jobs)
            if replace:  # before the batch fails: a probe that follows needs an instance
                self._replace(instance, same_executor=True)
            if current_batch is not None:
                self._owner.on_batch_lost(current_batch, LOST_REASON)
            self._owner.on_instance_lost(hung=False)
        instance.drop_executor()
        if not self._instances:
            self._owner.on_all_exited()

    # ---- as the watchdog sees them: implements Watched ------------------------------------------------------------

    def current_passes(self) -> list[tuple[Hashable, Sequence[TokenIds]]]:
        """Returns the instances in a forward pass, and its texts. Called in the watchdog's thread."""
        running = [(instance, instance.current.texts) for instance in tuple(self._instances)]
        return [(instance, texts) for instance, texts in running if texts is not None]

    def limit_s(self, texts: Sequence[TokenIds]) -> float:
        """Returns the limit of a pass, from the measured cost of such a pass. Called in the watchdog's thread."""
        return self._limits.limit_s(self.cost.expected_s(texts))

    def on_hang(self, instance: Hashable, texts: Sequence[TokenIds], running_s: float) -> None:
        """Gives up the batch of a pass that hangs, abandons its thread and replaces the instance."""
        hung = next((one for one in self._instances if one is instance and one.current.texts is texts), None)
        batch = hung.current.batch if hung is not None else None
        if hung is None or batch is None:  # the pass has ended meanwhile
            return
        hung.abandon(batch)
        self._instances.remove(hung)
        self._abandoned.append(hung)
        _log.critical(
            "instance %s hangs: a forward pass of %d texts has run for %.1f s. Its thread is abandoned and keeps its "
            "memory (abandoned threads: %d, resident memory of the process: %d MB)",
            hung.name, len(texts), running_s, len(self._abandoned), resident_bytes() >> 20,
        )  # fmt: skip
        self._replace(hung, same_executor=False)
        self._owner.on_batch_lost(batch, HUNG_REASON)
        self._owner.on_instance_lost(hung=True)
        if not self._instances:
            self._owner.on_all_exited()

    def _replace(self, instance: Instance, *, same_executor: bool) -> None:
        """Starts another instance in place of a lost or abandoned one. Logs why there can be none."""
        if len(self._abandoned) > MAX_ABANDONED:
            _log.critical("instance %s is not replaced: %d threads hang already", instance.name, len(self._abandoned))
            return
        try:
            replacement = instance.replacement(same_executor=same_executor)
            replacement.start()
        except Exception as error:  # for example, the system cannot create a thread
            _log.critical("instance %s cannot be replaced", instance.name, exc_info=error)
        else:
            self._instances.append(replacement)


def _cannot_make_executor() -> Executor:
    raise RuntimeError("no executor can be made in place of the one that hangs")
