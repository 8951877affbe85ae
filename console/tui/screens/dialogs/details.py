"""The Details dialog: requested and effective deployment, the evidence for it, the plan, and every warning in full."""

from typing import ClassVar

from textual.binding import BindingType

from console.model.engine import ServingPlan
from console.tui.panels.words import fell_back
from console.tui.screens.dialogs.dialog import SCROLL_KEYS, Dialog
from console.tui.styled_text import Line, Lines, Span, clean, line, wrap


class DetailsDialog(Dialog[None]):
    """Shows everything in full; it scrolls."""

    HEADING = "requested and effective"
    WIDTH = 88
    BINDINGS: ClassVar[list[BindingType]] = [*SCROLL_KEYS]

    def keys(self) -> str:
        return "esc close"

    def lines(self, width: int) -> Lines:
        engine = self.frame.engine
        rows: list[Line] = [
            line(Span("requested  ", "label"), Span(clean(engine.requested.cell) or "–", "value")),
            line(
                Span("effective  ", "label"),
                Span(clean(engine.effective.cell) or "–", "strong"),
                Span(
                    "  ⚠ fell back" if fell_back(engine) else "  as requested", "warn" if fell_back(engine) else "good"
                ),
            ),
        ]
        if engine.evidence:
            rows += [line(), line(Span("evidence", "label")), *wrap(engine.evidence, width)]
        if engine.plan.instances:
            rows += [line(), line(Span("plan", "label")), *wrap(_plan(engine.plan), width)]
        if not engine.warnings:
            rows += [line(), line(Span("no warnings", "muted"))]
        for notice in engine.warnings:
            rows += [line(), line(Span("⚠ ", "warn"), Span(clean(notice.code), "label"))]
            rows += wrap(notice.message, width, "strong")
            if notice.fix:
                rows += wrap(f"→ {notice.fix}", width)
        return tuple(rows)


def _plan(plan: ServingPlan) -> str:
    """The values that `auto` stands for, and whether they were measured."""
    how = (
        f"measured on this machine, {plan.texts_per_s:,.0f} texts/s without a server"
        if plan.texts_per_s
        else "a rule; `engine tune` measures it"
    )
    return (
        f"auto is {plan.instances} × {plan.threads} thread{'s' if plan.threads != 1 else ''}, batches up to "
        f"{plan.max_batch_tokens:,} tokens and {plan.max_batch_items:,} texts, "
        f"fixed cost of a pass ≈ {plan.pass_cost_tokens:,} tokens ({how})"
    )
