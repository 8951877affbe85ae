"""Restores the saved state at the start, reports what it restored, and saves the state when it changes."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from console.actions.action import LIVE, REPLAY, RUNS
from console.actions.saved_state import Memory, SavedState
from console.tui.themes import DARK, THEMES
from console.tui.view import DEFAULT_ZOOM, ZOOMS_S

if TYPE_CHECKING:
    from console.tui.app_port import AppPort

SAVE_EVERY_TICKS = 30
"""Ticks of the 10 Hz clock between two comparisons with the saved state: at most one write in 3 s."""


class StateRestorer:
    """Connects the app to the file of the saved state. Without one it does nothing."""

    def __init__(self, app: "AppPort", memory: Memory | None) -> None:
        self._app = app
        self._memory = memory
        self._saved = memory.before if memory else SavedState()
        self._writing = False
        self._failure_shown = False

    def restore_view(self) -> None:
        """Restores theme, zoom and scale; called before the first paint."""
        if self._memory is None:
            return
        saved, app = self._memory.found, self._app
        if saved.theme in {theme.name for theme in THEMES}:
            app.theme = saved.theme
        zoom = ZOOMS_S.index(saved.zoom_s) if saved.zoom_s in ZOOMS_S else DEFAULT_ZOOM
        app.view = replace(app.view, zoom=zoom, log_y=saved.log_y)

    async def restore_mode(self) -> None:
        """Restores the mode when the session is open, and shows what was restored, or why nothing was."""
        if self._memory is None:
            return
        app = self._app
        if self._memory.found.mode != LIVE:
            await app.go_to(self._memory.found.mode)
        if self._memory.notice:
            app.show_message(self._memory.notice, severity="warning", timeout=12)
        elif words := self._memory.found.describe():
            app.show_message(f"{words}\nStart with --fresh to ignore it", title="Restored from last time", timeout=10)
            if app.session is not None:
                app.session.note(f"restored from last time: {words}")

    def save_if_changed(self, tick: int) -> None:
        """Saves a changed state in a thread: a slow disk does not delay keys. `tick`: number of the clock's tick."""
        if self._memory is None or self._app.session is None or self._writing or tick % SAVE_EVERY_TICKS:
            return
        if (now := self._now()) != self._saved:
            self._writing = True
            self._app.in_background("saving the console's state", self._write(now))

    async def save(self) -> None:
        """Saves a changed state; called at the shutdown."""
        if self._memory is not None and self._app.session is not None and (now := self._now()) != self._saved:
            await self._write(now)

    async def _write(self, now: SavedState) -> None:
        if self._memory is None:
            return
        self._saved = now  # also when the write fails: it is not retried until the state changes again
        try:
            await asyncio.to_thread(self._memory.keep, now)
        except OSError as error:
            if not self._failure_shown:
                self._failure_shown = True
                words = f"The console's state cannot be saved in {self._memory.path} ({error.strerror})"
                self._app.show_message(words, severity="warning")
        finally:
            self._writing = False

    def _now(self) -> SavedState:
        app = self._app
        live = app.session.frame if app.session else app.frame
        before = self._memory.before if self._memory else SavedState()
        return SavedState(
            theme="" if app.theme == DARK.name else app.theme,
            mode=RUNS if app.current_mode == REPLAY else app.current_mode,
            zoom_s=app.view.span_s,
            log_y=app.view.log_y,
            load=live.load.spec,
            engine=before.engine if live.engine.remote else replace(app.engine_spec, port=0),
        )
