"""The queue: which texts the next forward pass runs. A pure data structure: no threads, no clock of its own.

Fairness between requests is self-clocked fair queueing (Golestani 1994) with TURN_TEXTS texts as the unit of work: a
request that arrives at virtual time V gives its first 8 texts the tag V+1, the next 8 V+2, …, and V is the tag of the
oldest text last served. "Oldest" means lowest tag; of equal tags a request's first turn goes before later turns of
others, and then arrival decides. So one text behind a request of a thousand is the next oldest, and the thousand still
get one turn in every round: tags that started at V itself would let a flood of single texts, all tagged V, hold V still
and starve the rest. Requests of up to 8 texts are served as they came: in turns of single texts, an overload would
leave all of them unfinished instead of the last.

Inside a bounded window of the lowest tags, texts are sorted by length, and a batch is a contiguous run of the window
which contains the oldest text. Where the executors pack several texts in a row there is no padding to avoid: a batch is
then simply the lowest turns, and with k instances idle one takes the k-th part of the tokens.
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
"""How many batches of texts are sorted together: more means less padding, and more to look through per batch."""

Turn = int
"""A text's place in the order of service: its tag, whether that is a later turn of its request, the request's arrival
number, and its place in the turn. One integer, because it is compared several times a text: in the heap, in the
window's sort and in the search for the oldest."""

TURN_TEXTS = 8
"""Texts of one request that are served before another request's turn comes."""

ARRIVAL_BITS = 44
"""Room for 10,000 requests a second over three years, for the place within a turn, and for the bit below."""
_NOT_THE_FIRST = 1 << (ARRIVAL_BITS - 1)


class Entry(NamedTuple):
    """One text that waits. Sorts by length, then turn."""

    length: int
    """In tokens."""
    turn: Turn
    position: int
    """In its request."""
    ticket: "Ticket"


_turn_of = attrgetter("turn")


class Ticket:
    """One request in the queue: its texts and how many of them still wait. Changed by the queue alone."""

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
        # Longest first: turns within one request are free to choose, and a request's neighbours in turn are then
        # neighbours in length too. The short ones come last, which evens out the end over several instances.
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
        return tag | (_NOT_THE_FIRST if turns else 0) | self.number * TURN_TEXTS + place

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
        """Lets the waiting texts go; returns how many of its texts never ran. Idempotent."""
        self.drops_at_s = -inf
        if self.waiting:
            self.dropped += self.waiting
            self.waiting = self.waiting_tokens = 0
            self.texts = ()
        return self.dropped


@dataclass(frozen=True, slots=True)
class Batch:
    """What one forward pass runs: its entries by rising length, and their token ids in the same order.

    It holds the token ids itself: a request that is withdrawn while some of its texts run lets its own list go.
    """

    entries: list[Entry]
    token_ids: list[TokenIds]
    taken_s: float

    @property
    def tickets(self) -> set[Ticket]:
        """The requests that it answers, wholly or in part."""
        return {ticket for _, _, _, ticket in self.entries}


class BatchQueue:
    """Texts that wait for an instance. Every operation costs O(log requests) a text, however long the queue is."""

    def __init__(self) -> None:
        self.items = 0
        self.tokens = 0
        self._virtual_time = 0
        self._arrivals = 0
        # Requests none of whose texts have entered the window. Virtual time never goes back, so their order of arrival
        # is the order of their turns, and a queue of single texts costs no heap at all.
        self._fresh: deque[Ticket] = deque()
        self._begun: list[tuple[Turn, Ticket]] = []  # a heap: the other requests by the turn of their next text
        self._withdrawn = 0  # requests withdrawn since the two were last cleaned, at least as many as they hold
        self._window: list[Entry] = []  # sorted between calls
        self._sweep_at_s = inf  # when something in the window may first have to go

    def add(self, ticket: Ticket) -> None:
        """A request's texts join the queue."""
        self._arrivals += 1
        ticket.number = self._arrivals
        ticket.first_tag = self._virtual_time + 1
        self.items += ticket.waiting
        self.tokens += ticket.waiting_tokens
        if ticket.waiting:
            self._fresh.append(ticket)

    def withdraw(self, ticket: Ticket) -> int:
        """Drops a request's queued texts; returns how many of its texts never ran. Idempotent.

        A request that was never added leaves the queue as it is.
        """
        self._sweep_at_s = -inf
        waiting, waiting_tokens = ticket.waiting, ticket.waiting_tokens
        dropped = ticket.drop()
        if waiting and ticket.number:
            self.items -= waiting
            self.tokens -= waiting_tokens
            self._withdrawn += 1
            # Callers that come and go while no instance is free must not pile up: forget them by halves.
            if self._withdrawn * 2 > len(self._fresh) + len(self._begun):
                self._fresh = deque(ticket for ticket in self._fresh if ticket.waiting)
                self._begun = [request for request in self._begun if request[1].waiting]
                heapify(self._begun)
                self._withdrawn = 0
        return dropped

    def oldest_arrival_s(self) -> float:
        """When the longest waiting request arrived; infinity if none waits. Looks at every queued request."""
        in_window = (entry.ticket for entry in self._window)
        begun = (ticket for _, ticket in self._begun)
        tickets = chain(in_window, begun, self._fresh)
        return min((ticket.arrived_s for ticket in tickets if ticket.waiting), default=inf)

    def take(self, policy: BatchPolicy, idle_instances: int, now: float) -> Batch | None:
        """The next batch, or None if nothing waits. Texts withdrawn or past their deadline are dropped first.

        `idle_instances` counts the asking one: with k idle, one takes at most its k-th part, rounded up.
        """
        if now >= self._sweep_at_s:
            self._sweep(now)
        batches = 1 if policy.packs else WINDOW_BATCHES
        oldest = self._fill(policy.max_batch_items * batches if policy.coalesce else 1, now)
        if oldest is None:
            return None
        if policy.coalesce and policy.packs:
            entries = self._lowest_turns(policy, idle_instances)
        elif policy.coalesce:
            share = -(-self.items // max(1, idle_instances))
            first, end = _best_run(self._window, oldest, min(policy.max_batch_items, share), policy)
            entries = self._window[first:end]
            del self._window[first:end]
        else:
            entries = self._of_one_request(oldest, policy)
        self._virtual_time = max(self._virtual_time, oldest.turn >> ARRIVAL_BITS)
        token_ids = [ticket.texts[position] for _, _, position, ticket in entries]
        for length, _, _, ticket in entries:
            ticket.waiting -= 1
            ticket.waiting_tokens -= length
            self.tokens -= length
        self.items -= len(entries)
        return Batch(entries, token_ids, now)

    def _sweep(self, now: float) -> None:
        """Drops from the window what was withdrawn or has expired."""
        for entry in self._window:
            if entry.ticket.drops_at_s <= now:
                self.withdraw(entry.ticket)
        self._window = [entry for entry in self._window if entry.ticket.drops_at_s > now]
        self._sweep_at_s = min((entry.ticket.drops_at_s for entry in self._window), default=inf)

    def _fill(self, capacity: int, now: float) -> Entry | None:
        """Lets texts into the window, lowest turn first, while there is room or while theirs is the lowest of all.

        Returns the oldest text of the queue, which is therefore always in the window.
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
                heappush(self._begun, (ticket.turn, ticket))
            if oldest is None or entry.turn < oldest.turn:
                oldest = entry
        if entered:
            window.sort()
        return oldest

    def _next_request(self, now: float) -> Ticket | None:
        """The request whose next text has the lowest turn of those outside the window. Forgets dropped ones."""
        while self._fresh or self._begun:
            ticket = self._fresh[0] if self._fresh else self._begun[0][1]
            if self._begun and self._fresh and self._begun[0][0] < ticket.turn:
                ticket = self._begun[0][1]
            if ticket.drops_at_s > now:
                return ticket
            self._remove_next(ticket)
            self.withdraw(ticket)
        return None

    def _remove_next(self, ticket: Ticket) -> None:
        """Takes out what `_next_request` gave."""
        if self._fresh and self._fresh[0] is ticket:
            self._fresh.popleft()
        else:
            heappop(self._begun)

    def _lowest_turns(self, policy: BatchPolicy, idle_instances: int) -> list[Entry]:
        """The texts whose turn it is, within this instance's share of the tokens and the bounds of a batch."""
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

    def _of_one_request(self, oldest: Entry, policy: BatchPolicy) -> list[Entry]:
        """One request, one batch: the oldest text's request in its own order, longest first, cut by the bounds."""
        ticket = oldest.ticket
        count = min(policy.max_batch_items, _most_texts(oldest.length, policy))
        entries = sorted((entry for entry in self._window if entry.ticket is ticket), key=_turn_of)[:count]
        taken = {entry.turn for entry in entries}
        self._window = [entry for entry in self._window if entry.turn not in taken]
        if len(entries) < count and not ticket.exhausted:
            while len(entries) < count and not ticket.exhausted:
                entries.append(ticket.next_entry())
            # Its turn in the heap has passed. This is linear, but in the requests that were cut, and cuts are rare.
            self._begun = [request for request in self._begun if request[1] is not ticket]
            if not ticket.exhausted:
                self._begun.append((ticket.turn, ticket))
            heapify(self._begun)
        return sorted(entries)


def _most_texts(longest: int, policy: BatchPolicy) -> int:
    """How many texts of that length the token budget holds; one that is larger than the budget goes alone."""
    return max(1, policy.max_batch_tokens // max(1, longest))


def _texts_ahead(turn: Turn, tag: int) -> int:
    """How many texts earlier than in its turn a text would be served beside one of that tag."""
    later = TURN_TEXTS if turn & _NOT_THE_FIRST else 0
    return ((turn >> ARRIVAL_BITS) - tag) * TURN_TEXTS + later + turn % TURN_TEXTS


def _best_run(window: list[Entry], oldest: Entry, max_items: int, policy: BatchPolicy) -> tuple[int, int]:
    """The run of the window, as (first, end), that contains the oldest text and wastes least per text.

    Waste is counted in tokens: the padding, and what a pass costs before its first token. The run grows from the
    oldest text up to the bounds, to the neighbour that adds less padding plus texts ahead of its turn (so
    that of two that pad alike, the older goes along). Of all the sizes on that way the best is taken: a gap of
    lengths that pays off later is crossed, one that does not is left alone.
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
