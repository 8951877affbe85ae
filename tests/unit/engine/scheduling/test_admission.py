"""Admission accepts requests that fit, and refuses the others with the time to retry."""

import pytest

from engine.errors import Overloaded
from engine.scheduling import Admission, AdmissionLimits
from tests.unit.engine.scheduling.fakes import ManualClock

LIMITS = AdmissionLimits(max_queued_items=100, max_queued_bytes=1000, max_queued_tokens=500)


def test_a_reservation_holds_bytes_and_after_tokenizing_tokens() -> None:
    admission = Admission(LIMITS)
    reservation = admission.reserve(10, 300)
    assert (admission.queued_items, admission.queued_bytes, admission.queued_tokens) == (10, 300, 0)
    reservation.set_tokens(80)
    assert (admission.queued_items, admission.queued_bytes, admission.queued_tokens) == (10, 0, 80)
    reservation.set_tokens(60)
    assert admission.queued_tokens == 60
    reservation.release(completed=True)
    assert (admission.queued_items, admission.queued_bytes, admission.queued_tokens) == (0, 0, 0)


def test_releasing_twice_releases_once_and_setting_tokens_late_has_no_effect() -> None:
    admission = Admission(LIMITS)
    other = admission.reserve(5, 50)
    reservation = admission.reserve(10, 300)
    reservation.release(completed=False)
    reservation.release(completed=True)
    reservation.set_tokens(80)
    assert (admission.queued_items, admission.queued_bytes, admission.queued_tokens) == (5, 50, 0)
    other.release(completed=True)


@pytest.mark.parametrize(("items", "size_bytes"), [(11, 10), (1, 101)])
def test_a_full_queue_refuses_by_texts_and_by_bytes(items: int, size_bytes: int) -> None:
    admission = Admission(LIMITS)
    admission.reserve(90, 900)
    with pytest.raises(Overloaded) as refusal:
        admission.reserve(items, size_bytes)
    assert refusal.value.retry_after_s is not None
    assert (admission.queued_items, admission.queued_bytes) == (90, 900)
    admission.reserve(10, 100)


def test_a_queue_full_of_tokens_refuses() -> None:
    admission = Admission(LIMITS)
    admission.reserve(1, 1).set_tokens(500)
    with pytest.raises(Overloaded, match="retry in"):
        admission.reserve(1, 1)


@pytest.mark.parametrize(("items", "size_bytes"), [(101, 1), (1, 1001)])
def test_a_request_larger_than_the_whole_queue_gets_no_time_to_retry(items: int, size_bytes: int) -> None:
    with pytest.raises(Overloaded, match="in parts") as refusal:
        Admission(LIMITS).reserve(items, size_bytes)
    assert refusal.value.retry_after_s is None


def test_the_context_manager_releases_whatever_happens() -> None:
    admission = Admission(LIMITS)
    with pytest.raises(ValueError, match="tokenizer"), admission.reserve(10, 10):
        raise ValueError("the tokenizer failed")
    assert admission.queued_items == 0


def retry_after(admission: Admission, items: int) -> float:
    with pytest.raises(Overloaded) as refusal:
        admission.reserve(items, 0)
    assert refusal.value.retry_after_s is not None
    return refusal.value.retry_after_s


@pytest.mark.parametrize("elapsed_s", [0.5, 2.0, 20.0])
def test_retry_after_follows_the_measured_rate(elapsed_s: float) -> None:
    clock = ManualClock()
    admission = Admission(LIMITS, clock)
    for _ in range(int(elapsed_s * 10)):  # 50 texts/s
        clock.now += 0.1
        admission.reserve(5, 0).release(completed=True)
    admission.reserve(100, 0)
    assert retry_after(admission, 20) == pytest.approx(20 / 50, rel=0.1)


def test_retry_after_stays_within_its_bounds() -> None:
    clock = ManualClock()
    admission = Admission(LIMITS, clock)
    held = admission.reserve(100, 0)
    assert 0.05 <= retry_after(admission, 1) <= 5  # nothing has been measured yet
    held.release(completed=False)
    clock.now += 1
    for _ in range(100):
        admission.reserve(100, 0).release(completed=True)
    admission.reserve(100, 0)
    assert retry_after(admission, 1) == 0.05
    clock.now += 60  # nothing was completed for a minute
    assert retry_after(admission, 1) == 5


def test_failed_requests_do_not_count_towards_the_completion_rate() -> None:
    clock = ManualClock()
    admission = Admission(LIMITS, clock)
    clock.now += 1
    admission.reserve(10, 0).release(completed=True)
    held = admission.reserve(100, 0)
    before = retry_after(admission, 10)
    held.release(completed=False)
    admission.reserve(100, 0)
    assert retry_after(admission, 10) == before
