"""The queue: selects the texts of the next batch. A pure data structure without threads or a clock.

Requests are served by self-clocked fair queueing (Golestani 1994), in turns of TURN_TEXTS = 8 texts. When a request
arrives at virtual time V, its first 8 texts get the tag V + 1, the next 8 the tag V + 2, and so on. V is the tag of the
oldest text of the last batch. "Oldest" means lowest tag; among equal tags, the first turn of a request precedes later
turns of other requests, and then arrival decides. A single text behind a request of a thousand is therefore the next
oldest, and the thousand still get one turn in every round. If tags started at V itself, a flood of single texts, all
tagged V, would stop V and starve the other requests. Requests of up to 8 texts are served in order of arrival: with
turns of one text, an overload would leave all of them unfinished instead of the last ones.

A bounded window holds the texts with the lowest tags, sorted by length. A batch is a contiguous run of the window that
contains the oldest text. If the executors pack several texts into a row, there is no padding to avoid: a batch is then
the lowest turns, and with k idle instances one takes at most 1/k of the tokens.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import chain
from math import inf
from operator import attrgetter
from typing import NamedTuple

from engine.scheduling.contract import BatchPolicy, TokenIds

WINDOW_BATCHES = 4
"""The capacity of the window, in batches. A larger window means less padding and more work per batch. Chosen."""

Turn = int
"""The sort key of the order of service: the tag, whether it is a later turn of its request, the request's arrival
number, and the place within the turn. One integer, because it is compared several times per text: in the heap, in the
sort of the window and in the search for the oldest text."""

TURN_TEXTS = 8
"""Texts of one request in a turn. Measured: "Fair queueing" in docs/performance.md."""

ARRIVAL_BITS = 44
"""Bits of a turn below its tag: 10,000 requests/s over three years, the place within a turn, and the bit below fit."""

_LATER_TURN = 1 << (ARRIVAL_BITS - 1)
"""The bit of a turn that is not the first of its request."""


class Entry(NamedTuple):
    """A queued text. Sorts by length, then by turn."""

    length: int
    """In tokens."""
    turn: Turn
    position: int
    """The index in its request."""
    ticket: "Ticket"


_turn_of = attrgetter("turn")


class Ticket:
    """A request in the queue: its texts, and how many of them still wait. Only the queue changes it."""

    __slots__ = (
        "arrived_s",
        "dropped",
        "drops_at_s",
        "entered",
        "first_tag",
        "lengths",
        "number",
        "order",
        "texts",
        "waiting",
        "waiting_tokens",
    )

    def __init__(self, texts: Sequence[TokenIds], arrived_s: float, deadline_s: float | None) -> None:
        self.texts = texts
        self.arrived_s = arrived_s
        self.drops_at_s = inf if deadline_s is None else deadline_s
        self.lengths = list(map(len, texts))
        # Longest first: the order within a request is free, and consecutive texts then have similar lengths. The short
        # texts come last, so that several instances finish at about the same time.
        self.order: Sequence[int] = range(1)
        if len(texts) != 1:
            self.order = sorted(range(len(texts)), key=self.lengths.__getitem__, reverse=True)
        self.entered = 0
        self.first_tag = 0
        self.number = 0
        self.waiting = len(texts)
        self.waiting_tokens = sum(self.lengths)
        self.dropped = 0

    @property
    def turn(self) -> Turn:
        """The turn of the next text to enter the window."""
        turns, place = divmod(self.entered, TURN_TEXTS)
        tag = (self.first_tag + turns) << ARRIVAL_BITS
        return tag | (_LATER_TURN if turns else 0) | self.number * TURN_TEXTS + place

    def next_entry(self) -> Entry:
        """The next text to enter the window."""
        position = self.order[self.entered]
        entry = Entry(self.lengths[position], self.turn, position, self)
        self.entered += 1
        return entry

    @property
    def exhausted(self) -> bool:
        """Whether all of its texts have entered the window."""
        return self.entered == len(self.order)

    def drop(self) -> int:
        """Drops the waiting texts. Returns how many of its texts never ran. Idempotent."""
        self.drops_at_s = -inf
        if self.waiting:
            self.dropped += self.waiting
            self.waiting = self.waiting_tokens = 0
            self.texts = ()
        return self.dropped


@dataclass(frozen=True, slots=True)
class Batch:
    """The texts of one forward pass: entries in ascending order of length, and their token ids in the same order.

    It holds the token ids itself, because a request that is withdrawn while some of its texts run drops its own list.
    """

    entries: list[Entry]
    token_ids: list[TokenIds]
    taken_s: float

    @property
    def tickets(self) -> set[Ticket]:
        """The requests that its texts belong to."""
        return {ticket for _, _, _, ticket in self.entries}


class BatchQueue:
    """Texts that wait for an instance. Adding and taking costs O(log requests) per text."""

    def __init__(self) -> None:
        self.items = 0
        self.tokens = 0
        self._virtual_time = 0
        self._arrivals = 0
        # Requests of which no text has entered the window. Virtual time never decreases, so their order of arrival is
        # the order of their turns, and a queue of single texts needs no heap.
        self._new: deque[Ticket] = deque()
        self._started: list[tuple[Turn, Ticket]] = []  # a heap: the other requests by the turn of their next text
        self._withdrawn = 0  # at least as many withdrawn requests as the two hold
        self._window: list[Entry] = []  # sorted between calls
        self._sweep_at_s = inf  # the earliest time at which an entry of the window may have to be dropped

    def add(self, ticket: Ticket) -> None:
        """Adds the texts of a request."""
        self._arrivals += 1
        ticket.number = self._arrivals
        ticket.first_tag = self._virtual_time + 1
        self.items += ticket.waiting
        self.tokens += ticket.waiting_tokens
        if ticket.waiting:
            self._new.append(ticket)

    def withdraw(self, ticket: Ticket) -> int:
        """Drops a request's queued texts. Returns how many of its texts never ran. Idempotent.

        A request that was never added does not change the queue.
        """
        self._sweep_at_s = -inf
        waiting, waiting_tokens = ticket.waiting, ticket.waiting_tokens
        dropped = ticket.drop()
        if waiting and ticket.number:
            self.items -= waiting
            self.tokens -= waiting_tokens
            self._withdrawn += 1
            # Withdrawn requests must not accumulate while no instance is free. Removed when they are the majority.
            if self._withdrawn * 2 > len(self._new) + len(self._started):
                self._new = deque(ticket for ticket in self._new if ticket.waiting)
                self._started = [request for request in self._started if request[1].waiting]
                heapify(self._started)
                self._withdrawn = 0
        return dropped

    def oldest_arrival_s(self) -> float:
        """The arrival time of the request that has waited longest; infinity if none waits. O(queued requests)."""
        in_window = (entry.ticket for entry in self._window)
        started = (ticket for _, ticket in self._started)
        tickets = chain(in_window, started, self._new)
        return min((ticket.arrived_s for ticket in tickets if ticket.waiting), default=inf)

    def take(self, policy: BatchPolicy, idle_instances: int, now: float) -> Batch | None:
        """Takes the next batch; None if no text waits. Drops withdrawn texts and texts past their deadline first.

        `idle_instances` includes the caller. With k idle instances a batch has at most 1/k of the queue, rounded up.
        """
        if now >= self._sweep_at_s:
            self._sweep(now)
        batches = 1 if policy.packs else WINDOW_BATCHES
        oldest = self._fill(policy.max_batch_items * batches if policy.coalesce else 1, now)
        if oldest is None:
            return None
        if policy.coalesce and policy.packs:
            entries = self._take_lowest_turns(policy, idle_instances)
        elif policy.coalesce:
            share = -(-self.items // max(1, idle_instances))
            first, end = _best_run(self._window, oldest, min(policy.max_batch_items, share), policy)
            entries = self._window[first:end]
            del self._window[first:end]
        else:
            entries = self._take_one_request(oldest, policy)
        self._virtual_time = max(self._virtual_time, oldest.turn >> ARRIVAL_BITS)
        token_ids = [ticket.texts[position] for _, _, position, ticket in entries]
        for length, _, _, ticket in entries:
            ticket.waiting -= 1
            ticket.waiting_tokens -= length
            self.tokens -= length
        self.items -= len(entries)
        return Batch(entries, token_ids, now)

    def _sweep(self, now: float) -> None:
        """Drops withdrawn and expired texts from the window."""
        for entry in self._window:
            if entry.ticket.drops_at_s <= now:
                self.withdraw(entry.ticket)
        self._window = [entry for entry in self._window if entry.ticket.drops_at_s > now]
        self._sweep_at_s = min((entry.ticket.drops_at_s for entry in self._window), default=inf)

    def _fill(self, capacity: int, now: float) -> Entry | None:
        """Moves texts into the window, lowest turn first, until it is full and holds the oldest text of the queue.

        Returns the oldest text; None if the queue is empty.
        """
        window = self._window
        oldest = min(window, key=_turn_of) if window else None
        entered = False
        while (ticket := self._next_request(now)) is not None:
            if oldest is not None and len(window) >= capacity and ticket.turn > oldest.turn:
                break
            self._remove_next(ticket)
            entry = ticket.next_entry()
            window.append(entry)
            entered = True
            if ticket.drops_at_s < self._sweep_at_s:
                self._sweep_at_s = ticket.drops_at_s
            if not ticket.exhausted:
                heappush(self._started, (ticket.turn, ticket))
            if oldest is None or entry.turn < oldest.turn:
                oldest = entry
        if entered:
            window.sort()
        return oldest

    def _next_request(self, now: float) -> Ticket | None:
        """The request whose next text has the lowest turn outside the window. Removes dropped requests."""
        while self._new or self._started:
            ticket = self._new[0] if self._new else self._started[0][1]
            if self._started and self._new and self._started[0][0] < ticket.turn:
                ticket = self._started[0][1]
            if ticket.drops_at_s > now:
                return ticket
            self._remove_next(ticket)
            self.withdraw(ticket)
        return None

    def _remove_next(self, ticket: Ticket) -> None:
        """Removes the request that `_next_request` returned."""
        if self._new and self._new[0] is ticket:
            self._new.popleft()
        else:
            heappop(self._started)

    def _take_lowest_turns(self, policy: BatchPolicy, idle_instances: int) -> list[Entry]:
        """Takes the texts with the lowest turns, within this instance's share of the tokens and the policy's bounds."""
        room = min(policy.max_batch_tokens, -(-self.tokens // max(1, idle_instances)))
        in_turn = sorted(self._window, key=_turn_of)
        count = 0
        for length, _, _, _ in in_turn[: policy.max_batch_items]:
            room -= length
            if room < 0 and count:
                break
            count += 1
        self._window = sorted(in_turn[count:])
        return sorted(in_turn[:count])

    def _take_one_request(self, oldest: Entry, policy: BatchPolicy) -> list[Entry]:
        """Takes the texts of the oldest text's request, longest first, within the policy's bounds."""
        ticket = oldest.ticket
        count = min(policy.max_batch_items, _max_texts(oldest.length, policy))
        entries = sorted((entry for entry in self._window if entry.ticket is ticket), key=_turn_of)[:count]
        taken = {entry.turn for entry in entries}
        self._window = [entry for entry in self._window if entry.turn not in taken]
        if len(entries) < count and not ticket.exhausted:
            while len(entries) < count and not ticket.exhausted:
                entries.append(ticket.next_entry())
            # Its key in the heap is out of date. Linear, but only in requests that were cut, which is rare.
            self._started = [request for request in self._started if request[1] is not ticket]
            if not ticket.exhausted:
                self._started.append((ticket.turn, ticket))
            heapify(self._started)
        return sorted(entries)


def _max_texts(longest: int, policy: BatchPolicy) -> int:
    """How many texts of that length fit the token budget. At least 1: a text over the budget is a batch of its own."""
    return max(1, policy.max_batch_tokens // max(1, longest))


def _texts_ahead(turn: Turn, tag: int) -> int:
    """How many places ahead of its turn a text is served in a batch whose oldest text has that tag."""
    later = TURN_TEXTS if turn & _LATER_TURN else 0
    return ((turn >> ARRIVAL_BITS) - tag) * TURN_TEXTS + later + turn % TURN_TEXTS


def _best_run(window: list[Entry], oldest: Entry, max_items: int, policy: BatchPolicy) -> tuple[int, int]:
    """Returns the run of the window, as (first, end), that contains the oldest text and has the least waste per text.

    Waste is counted in tokens: the padding, and the fixed cost of a pass. The run grows from the oldest text up to the
    bounds. Each step adds the neighbour with the smaller sum of padding and places ahead of its turn, so that of two
    with equal padding the older is added. The result is the best of all sizes on the way: the run crosses a gap between
    lengths only if that pays off.
    """
    first = bisect_left(window, oldest)
    end = first + 1
    best = (first, end)
    longest, tag = oldest.length, oldest.turn >> ARRIVAL_BITS
    least = waste = float(policy.pass_cost_tokens)
    below_padding = above_padding = 0
    for count in range(1, max_items):
        below = above = inf
        if first and (count + 1) * longest <= policy.max_batch_tokens:
            length, turn, _, _ = window[first - 1]
            below_padding = longest - length
            below = below_padding + _texts_ahead(turn, tag)
        if end < len(window) and (count + 1) * window[end].length <= policy.max_batch_tokens:
            length, turn, _, _ = window[end]
            above_padding = count * (length - longest)
            above = above_padding + _texts_ahead(turn, tag)
        if below <= above:
            if below == inf:
                break
            first -= 1
            waste += below_padding
        else:
            longest = window[end].length
            end += 1
            waste += above_padding
        if waste <= least * (count + 1):
            least = waste / (count + 1)
            best = (first, end)
    return best
