"""The table of `benchmarks.growth`."""

from benchmarks import growth
from benchmarks.growth import Turn


def test_cpu_is_compared_with_the_first_load_and_refusals_are_summed() -> None:
    def turn(cpu_ms: float, waiting: int, refused: int = 0) -> Turn:
        return Turn(2000.0, cpu_ms, 0.1, (waiting, waiting + 10), 40.0, refused, refused)

    turns = {32: [turn(0.5, 0), turn(1.0, 0)], 9500: [turn(0.55, 9000, 1), turn(1.1, 9100, 2)]}
    few, many = growth.table(turns).splitlines()[2:]
    assert few == "| 32 | 2,000 | 0.750 | 1 | 0.100 | 5 (0–10) | 40.0 | 0 | 0 |"
    assert many == "| 9,500 | 2,000 | 0.825 | 1.10 [1.10, 1.10] | 0.100 | 9,055 (9,000–9,110) | 40.0 | 3 | 3 |"
