"""Figures and verdicts of a row as the text of a table's cell. Pure functions."""

from console.output.table import MARKS
from console.report.rows import Load, ReportRow

ONE_AT_A_TIME = "1 × 1"
"""Name of the load with one text in flight."""
_MARK_OF = {
    "ok": "✓ ok", "too_short": "~ too short", "unstable": "~ unstable", "errors": "✕ errors",
    "client_bound": "~ client bound", "failed": "✕ failed",
}  # fmt: skip


def status(row: ReportRow) -> str:
    """The verdict with its mark; for a steady cell also whether it missed the SLO or has too few requests for it."""
    if row.is_valid and row.slo_missed:
        return "✕ SLO missed"
    if row.is_valid and row.slo_unknown:
        return "~ too few requests for the SLO"
    return _MARK_OF.get(row.verdict, f"{MARKS.get(row.verdict, '~')} {row.verdict}")


def speed_status(row: ReportRow) -> str:
    """The verdict on the throughput alone, with its mark."""
    return _MARK_OF["ok"] if row.is_rate_valid else _MARK_OF.get(row.verdict, row.verdict)


def figure(value: float | None, form: str) -> str:
    """The value in the format `form`, or a dash for None."""
    return "–" if value is None else f"{value:{form}}"


def interval(row: ReportRow) -> str:
    """The 95 % interval of the throughput, or a dash."""
    return f"{row.low:,.0f} to {row.high:,.0f}" if row.low is not None and row.high is not None else "–"


def margin(row: ReportRow) -> str:
    """Half the 95 % interval of the throughput as a share of it, `±18%`; a dash if there is none."""
    if row.high is None or not row.texts_per_s:
        return "–"
    return f"±{row.high / row.texts_per_s - 1:.0%}"


def rss(row: ReportRow) -> str:
    """RSS in MiB, with † if the process had served another deployment before; a dash if it is unknown."""
    return figure(row.rss_bytes and row.rss_bytes / 2**20, ",.0f") + (" †" if has_shared_rss(row) else "")


def has_shared_rss(row: ReportRow) -> bool:
    return bool(row.rss_bytes) and row.rss_shared_process


def pace(load: Load) -> str:
    """Requests in flight, or the rate: `4`, `118/s`."""
    return f"{load.rate:g}/s" if load.rate else str(load.concurrency)


def by_title_and_load(row: ReportRow) -> tuple[str, int, int, float, bool]:
    """The order of rows in a table."""
    load = row.load
    return (row.title, load.batch, load.concurrency, load.rate or 0.0, not load.coalesce)
