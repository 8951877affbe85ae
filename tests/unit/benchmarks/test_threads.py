"""What `benchmarks.threads` calls the event loop, the passes and the rest."""

from benchmarks.threads import LOOP, OTHERS, PASSES, Spent, grouped


def test_beside_the_main_thread_the_busiest_are_those_that_run_passes() -> None:
    spent = {1: Spent(0.5, 0.25), 2: Spent(0.125, 0.0), 3: Spent(0.75, 0.5), 4: Spent(0.25, 1.0), 5: Spent(1.0, 0.25)}
    assert grouped(spent, main_thread=1, passing=2) == {
        LOOP: Spent(0.5, 0.25),
        PASSES: Spent(1.75, 0.75),
        OTHERS: Spent(0.375, 1.0),
    }
