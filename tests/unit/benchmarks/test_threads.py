"""The groups of threads of `benchmarks.threads`: event loop, passes, others."""

from benchmarks.threads import LOOP, OTHERS, PASSES, CpuTime, grouped


def test_the_busiest_threads_except_the_main_thread_run_passes() -> None:
    spent = {
        1: CpuTime(0.5, 0.25),
        2: CpuTime(0.125, 0.0),
        3: CpuTime(0.75, 0.5),
        4: CpuTime(0.25, 1.0),
        5: CpuTime(1.0, 0.25),
    }
    assert grouped(spent, main_thread=1, passing=2) == {
        LOOP: CpuTime(0.5, 0.25),
        PASSES: CpuTime(1.75, 0.75),
        OTHERS: CpuTime(0.375, 1.0),
    }
