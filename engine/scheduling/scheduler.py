"""The scheduler: takes the texts of requests as jobs, runs them in batches, and returns each job's vectors in order.

Every job is in one registry until it is answered. A fault in forming, running or delivering a batch ends in
`_handle_fault`, `_rebuild_queue` or `Instances`. Each fails the registered jobs that the fault may affect with
Unavailable, so that no caller waits for a text that no instance holds.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

import numpy as np

from engine.errors import Cancelled, EngineError, Expired, OutOfMemory, PoisonedText, Unavailable
from engine.scheduling.contract import BatchObserver, BatchPolicy, Executor, SchedulerStats, TokenIds, Vectors
from engine.scheduling.dispatch import Dispatch
from engine.scheduling.health import Health
from engine.scheduling.inline import MAX_INLINE_TOKENS, InlinePolicy
from engine.scheduling.instance import BatchResult, CurrentPass, FailedText, Instance, PartialResult, run_batch
from engine.scheduling.instances import LOST_REASON, Instances
from engine.scheduling.job import Job, Jobs
from engine.scheduling.out_of_memory import RETRY_AFTER_S, MemoryBound
from engine.scheduling.probe import Prober
from engine.scheduling.queue import Batch, Ticket
from engine.scheduling.watchdog import PassLimits, Watchdog

_log = logging.getLogger(__name__)

_NO_INSTANCE = "every instance was lost: restart the engine"
_NO_LIMITS = PassLimits()


class Scheduler:
    """Batches the texts of concurrent requests for one or more instances. Used from one event loop's thread only.

    Must be created inside a running event loop. Runs one daemon thread per executor until `close`. Calls the observer
    in the event loop's thread.
    """

    def __init__(
        self,
        executors: Sequence[Executor],
        policy: BatchPolicy,
        observer: BatchObserver,
        *,
        name: str,
        clock: Callable[[], float] = time.monotonic,
        inline: InlinePolicy | None = None,
        cores: Sequence[int | None] | None = None,
        make_executor: Callable[[], Executor] | None = None,
        probe_text: TokenIds = (),
        watchdog: Watchdog | None = None,
        pass_limits: PassLimits = _NO_LIMITS,
    ) -> None:
        """`inline`: decides when the event loop runs a text itself; None: never.

        `cores`: the core to which each executor's thread is pinned, None for any core. `make_executor`: makes an
        executor in place of one that hangs; called in an instance's thread. `probe_text`: the known text of a probe;
        without it failed batches decide about the health alone. `watchdog`: reports passes over `pass_limits`.
        """
        self.name = name
        self.health = Health()
        """Whether its instances can answer, judged by the batches so far."""
        self._loop = asyncio.get_running_loop()
        self._observer = observer
        self._clock = clock
        self._policy = policy
        self._memory_bound = MemoryBound()
        self._dispatch = Dispatch(policy, clock)
        self._jobs = Jobs()
        self._wake_scheduled = False
        self._closing = False
        self._queue_faults = 0  # since a batch was last delivered
        self._inline = inline
        self._inline_pass = CurrentPass()
        self._prober = Prober(probe_text, self.health, self._submit_to_instance)
        self._all_exited = asyncio.Event()
        self._instances = Instances(
            executors, self._dispatch, self, name=name, clock=clock, cores=cores, make_executor=make_executor,
            limits=pass_limits,
        )  # fmt: skip
        self._instances.start()
        self._watchdog = watchdog
        if watchdog is not None:
            watchdog.add(self._instances)

    @property
    def policy(self) -> BatchPolicy:
        """The policy of the next batch."""
        return self._dispatch.policy

    def stats(self) -> SchedulerStats:
        """Returns the current counts of queued texts, idle instances and unanswered jobs."""
        arrived_s = self._jobs.oldest_arrived_s()
        age_s = 0.0 if arrived_s is None else max(0.0, self._clock() - arrived_s)
        return SchedulerStats(
            *self._dispatch.counts(), len(self._jobs), age_s, abandoned_threads=self._instances.abandoned_threads
        )

    def configure(self, policy: BatchPolicy) -> None:
        """Sets the policy of the next batches. While memory is short, they have fewer tokens than it allows."""
        self._policy = policy
        self._dispatch.configure(self._memory_bound.applied_to(policy))

    def submit(self, texts: Sequence[TokenIds], *, deadline_s: float | None = None) -> Job:
        """Queues the texts of a request. `deadline_s` is a time on the scheduler's clock. Event loop thread only.

        Without texts the result has shape (0, 0) and is ready at once. Raises Unavailable once `close` was called or no
        instance is left.
        """
        job = self._new_job(texts, deadline_s)
        ticket = job.ticket
        if not texts:
            empty = Vectors(np.empty((0, 0), np.float32), np.empty(0, np.float32))
            job.accept(PartialResult(ticket, (), empty, 0.0), 0.0)
            job.succeed()
            return job
        self._jobs.add(job)
        try:
            self._enqueue(ticket)
            if deadline_s is not None:
                self._check_deadline(job)
        except Exception as fault:
            self._handle_fault("queue a request", fault, (ticket,))
        return job

    def _new_job(self, texts: Sequence[TokenIds], deadline_s: float | None = None) -> Job:
        if self._closing:
            raise Unavailable("this deployment is closing: send the request again")
        if not self._instances:
            raise Unavailable(_NO_INSTANCE)
        return Job(self, Ticket(texts, self._clock(), deadline_s), self._loop.create_future())

    def probe(self) -> None:
        """Starts a forward pass of the known text. Its outcome decides about `health`."""
        self._prober.start()

    def _submit_to_instance(self, text: TokenIds) -> Job | None:
        """Queues a text and wakes an instance for it, without inline execution. None if no instance can take it."""
        if self._closing or not self._instances:
            return None
        job = self._new_job([text])
        self._jobs.add(job)
        try:
            if self._dispatch.put(job.ticket):
                self._dispatch.wake()
        except Exception as fault:
            self._handle_fault("queue a text", fault, (job.ticket,))
        return job

    def _enqueue(self, ticket: Ticket) -> None:
        if self._inline is not None:
            self._inline.record_arrival(ticket.arrived_s, is_single=len(ticket.lengths) == 1 and len(self._jobs) == 1)
        # Idle instances are woken in the next iteration of the event loop. All requests that one read of the sockets
        # returned are parsed in this iteration, so they share a batch, without a timer and without a wait for requests
        # that have not arrived. A busy instance needs no wake-up: it checks the queue after its batch.
        if self._dispatch.put(ticket) and not self._wake_scheduled:
            self._wake_scheduled = True
            self._loop.call_soon(self._wake)

    def cancel(self, job: Job) -> None:
        """Implements Job.cancel."""
        if self._jobs.by_ticket.get(job.ticket) is job:
            dropped = self._fail(job, Cancelled("the caller left while the request was queued"))
            self._notify(lambda: self._observer.items_dropped(expired=0, cancelled=dropped))

    async def drain(self) -> None:
        """Waits until no job is unanswered. Jobs may still be submitted meanwhile."""
        await self._jobs.all_answered()

    async def close(self) -> None:
        """Refuses new jobs, drains, joins the threads, and drops the executors. Idempotent.

        Waits for a running forward pass until it ends, or until the watchdog gives it up.
        """
        self._closing = True
        self._dispatch.close()  # the threads still empty the queue, and no longer wait for fuller batches
        await self.drain()
        if self._instances:
            await self._all_exited.wait()
        if self._watchdog is not None:
            self._watchdog.remove(self._instances)

    # ---- callbacks of the instances, in their threads ------------------------------------------------------------

    def on_batch(self, result: BatchResult) -> None:
        """Passes a batch's result to the event loop."""
        self._loop.call_soon_threadsafe(self._deliver, result)

    def on_exit(self, instance: Instance, current_batch: Batch | None, fault: BaseException | None) -> None:
        """Passes the end of a thread to the event loop."""
        with suppress(RuntimeError):  # the loop is closed because the process ends: no job is left
            self._loop.call_soon_threadsafe(self._instances.exited, instance, current_batch, fault)

    # ---- event loop ----------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        self._wake_scheduled = False
        try:
            if self._inline is None or not self._run_inline(self._inline):
                self._dispatch.wake()
        except Exception as fault:
            self._handle_fault("wake an instance", fault)

    def _run_inline(self, inline: InlinePolicy) -> bool:
        """Runs the only queued text in this thread, if the policy allows it and every instance is idle.

        Returns whether it took a text.
        """
        batch = None
        try:
            if not inline.should_run_inline:
                return False
            batch = self._dispatch.take_inline(len(self._instances), MAX_INLINE_TOKENS)
            if batch is None:
                return False
            # Every instance waits, and only this thread could wake one: its executor is not in use.
            result = run_batch(batch, self._instances.inline_executor, self._clock, self._inline_pass)
        except BaseException as fault:  # as in an instance's thread: the batch's callers must be answered
            if batch is not None:
                self._dispatch.mark_done(batch)
                self.health.batch_failed()
            self._handle_fault("run a text", fault, batch.tickets if batch is not None else ())
            if _must_propagate(fault):
                raise
            return batch is not None
        self._deliver(result)
        return True

    def _poll(self, inline: InlinePolicy) -> None:
        """Keeps the loop from sleeping until a request arrives or `poll_until_s` has passed."""
        if not self._jobs and not self._closing and self._clock() < inline.poll_until_s:
            self._loop.call_soon(self._poll, inline)

    def _check_deadline(self, job: Job) -> None:
        """Fails the job if its deadline has passed, else schedules this check for the deadline. Timers may be early."""
        try:
            remaining_s = job.ticket.drops_at_s - self._clock()
            if remaining_s > 0:
                job.deadline = self._loop.call_later(remaining_s, self._check_deadline, job)
                return
        except Exception as fault:
            self._handle_fault("check a deadline", fault, (job.ticket,))
            return
        dropped = self._fail(job, Expired("the deadline passed while the request was queued: allow it more time"))
        self._notify(lambda: self._observer.items_dropped(expired=dropped, cancelled=0))

    def _deliver(self, result: BatchResult) -> None:
        """Distributes a batch's result to the jobs. Jobs that have failed meanwhile are no longer registered."""
        self._dispatch.mark_done(result.batch)
        try:
            answered = self._complete_jobs(result)
        except BaseException as fault:
            self.health.batch_failed()
            self._handle_fault("deliver a batch", fault, result.batch.tickets)
            if _must_propagate(fault):
                raise
            return
        self._queue_faults = 0
        record = result.record
        self._instances.cost.record(record)
        memory_bound = self._memory_bound
        if (record.out_of_memory_tokens or memory_bound.max_tokens is not None) and memory_bound.update(
            record, self._policy, self._clock()
        ):
            self.configure(self._policy)
        if self._inline is not None:
            self._update_inline_policy(self._inline, result, answered=answered)
        if self._prober.running is None or result.batch.tickets != {self._prober.running}:  # no one's request
            self._notify(lambda: self._observer.batch_done(record))

    def _complete_jobs(self, result: BatchResult) -> bool:
        """Gives each job its vectors. Returns whether a job was completed."""
        for failure in result.failures:
            if (job := self._jobs.by_ticket.get(failure.ticket)) is not None:
                self._fail(job, _error_of(failure))
        answered = accepted = refused = False
        for partial in result.results:
            if (job := self._jobs.by_ticket.get(partial.ticket)) is None:
                continue
            try:
                if job.accept(partial, result.record.infer_s):
                    job.succeed()
                    self._jobs.remove(job)
                    answered = True
                accepted = True
            except ValueError:
                refused = True
                _log.exception("the instances of %s disagree on the vectors' dimension", self.name)
                self._fail(job, EngineError("the vectors of one request differ in dimension: see the engine's log"))
            except Exception as fault:
                refused = True
                self._handle_fault("answer a request", fault, (partial.ticket,))
        if refused and not accepted:
            self.health.batch_failed()
        else:
            self.health.batch_done(result.record)
        return answered

    def _update_inline_policy(self, inline: InlinePolicy, result: BatchResult, *, answered: bool) -> None:
        """Records a batch for the decision about inline execution."""
        try:
            inline.record_batch(result.record)
            if answered and not self._jobs:
                inline.record_idle(self._clock())
                self._poll(inline)
        except Exception as fault:
            self._handle_fault("update the inline policy", fault)

    def _notify(self, report: Callable[[], None]) -> None:
        """Calls the observer. Logs its exceptions, so that they fail no request."""
        try:
            report()
        except Exception:
            _log.exception("the observer of %s failed", self.name)

    def _fail(self, job: Job, error: EngineError) -> int:
        """Fails the job and drops its queued texts. Returns how many of its texts never ran."""
        job.fail(error)
        self._jobs.remove(job)
        try:
            return self._dispatch.withdraw(job.ticket)
        except Exception as fault:
            self._handle_fault("drop a request's texts", fault)
            return job.ticket.drop()

    # ---- faults --------------------------------------------------------------------------------------------------

    def _handle_fault(self, step: str, fault: BaseException, tickets: Collection[Ticket] = ()) -> None:
        """Logs a fault in the event loop's thread, fails the requests of `tickets`, and repairs a broken queue."""
        _log.critical("the event loop failed to %s of %s", step, self.name, exc_info=fault)
        self._fail_all(tickets)
        if self._dispatch.is_broken:
            self._rebuild_queue()

    def _rebuild_queue(self) -> None:
        """Replaces the queue after a fault in it.

        The new queue has the requests of which no text had left the old one. A request whose missing texts are all in
        batches in flight needs no queue. The other requests fail, because some of their texts may be lost. After a
        second fault without a delivered batch in between, nothing is queued again: a fault that occurs every time would
        otherwise occur once per request.
        """
        self._queue_faults += 1
        self.health.batch_failed()
        in_flight = self._dispatch.in_flight_texts()
        requeue = self._queue_faults == 1
        running = {ticket for ticket, job in self._jobs.by_ticket.items() if job.missing == in_flight[ticket]}
        untouched = [ticket for ticket in self._jobs.by_ticket if requeue and not ticket.entered]
        self._fail_all(set(self._jobs.by_ticket) - running - set(untouched))
        self._dispatch.repair(untouched)

    @property
    def has_jobs(self) -> bool:
        """Implements InstancesOwner."""
        return bool(self._jobs)

    def on_batch_lost(self, batch: Batch, reason: str) -> None:
        """Implements InstancesOwner: fails the requests of the batch."""
        self._dispatch.mark_done(batch)
        self.health.batch_failed()
        self._fail_all(batch.tickets, reason)

    def on_instance_lost(self, *, hung: bool) -> None:
        """Implements InstancesOwner."""
        if self._dispatch.is_broken:
            self._rebuild_queue()
        self.health.instance_lost(len(self._instances))
        if hung and not self._instances.any_responsive:
            self.health.all_hung()
            self.probe()
        self._notify(lambda: self._observer.instance_replaced(hung=hung))

    def on_all_exited(self) -> None:
        """Implements InstancesOwner."""
        self._fail_all(set(self._jobs.by_ticket), _NO_INSTANCE)
        self._all_exited.set()

    def _fail_all(self, tickets: Collection[Ticket], reason: str = LOST_REASON) -> None:
        """Fails those of the requests that are not answered yet, with an error that tells the caller to retry."""
        for ticket in tickets:
            if (job := self._jobs.by_ticket.get(ticket)) is not None:
                self._fail(job, Unavailable(reason))


def _must_propagate(fault: BaseException) -> bool:
    """Whether the exception must reach the event loop, which ends the process."""
    return isinstance(fault, (SystemExit, KeyboardInterrupt))


def _error_of(failure: FailedText) -> EngineError:
    if failure.out_of_memory:
        return OutOfMemory(failure.position, RETRY_AFTER_S)
    return PoisonedText(failure.position, failure.reason)
