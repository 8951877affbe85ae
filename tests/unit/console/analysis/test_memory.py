"""RSS of a deployment that an engine process served after others says so, and is compared with no other."""

import pytest

from console.analysis.memory import deployments_before, memory_note, recorded_deployments_before
from tests.unit.console.support.intervals import second


def test_the_epochs_of_the_answers_count_the_deployments_before() -> None:
    assert deployments_before([second(0, epoch=3), second(1, epoch=3)], engine_epoch=1) == 2


@pytest.mark.parametrize(("epoch", "before"), [(0, None), (1, 0), (4, 3)])
def test_without_answers_the_engine_s_epoch_counts(epoch: int, before: int | None) -> None:
    assert deployments_before([second(0, requests=0)], epoch) == before


def test_a_report_of_an_older_version_is_completed_from_its_intervals() -> None:
    intervals = [second(0, epoch=2)]
    assert recorded_deployments_before({"server": {"rss_bytes": 1}}, intervals) == 1
    assert recorded_deployments_before({"server": {"deployments_before": 0}}, intervals) == 0
    assert recorded_deployments_before(None, ()) is None


def test_the_note_is_empty_for_the_first_deployment_of_a_process() -> None:
    notes = [memory_note(before) for before in (None, 0, 1, 2)]
    one, two = "after 1 other deployment in this process", "after 2 other deployments in this process"
    assert notes == ["", "", one, two]
