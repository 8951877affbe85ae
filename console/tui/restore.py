"""Restores the console as it was left, says what it restored, and keeps what becomes of it."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from console.actions.action import LIVE, REPLAY, RUNS
from console.actions.saved_state import Memory, SavedState
from console.tui.themes import DARK, THEMES
from console.tui.view import DEFAULT_ZOOM, ZOOMS_S

if TYPE_CHECKING:
    from console.tui.app_port import AppPort

KEEP_EVERY = 30
"""Ticks of the 10 Hz clock between two looks at what has changed: the file is not written more often."""


class StateRestorer:
    """Without a memory it does nothing, which is what tests and pictures want."""

    def __init__(self, app: "AppPort", memory: Memory | None) -> None:
        self._app = app
        self._memory = memory
        self._kept = memory.before if memory else SavedState()
        self._writing = False
        self._told = False

    def restore_look(self) -> None:
        """Before the first paint: theme, zoom and scale."""
        if self._memory is None:
            return
        found, app = self._memory.found, self._app
        if found.theme in {theme.name for theme in THEMES}:
            app.theme = found.theme
        zoom = ZOOMS_S.index(found.zoom_s) if found.zoom_s in ZOOMS_S else DEFAULT_ZOOM
        app.view = replace(app.view, zoom=zoom, log_y=found.log_y)

    async def restore_mode(self) -> None:
        """When the session is open: the mode; and in words what was restored, or why nothing was."""
        if self._memory is None:
            return
        app = self._app
        if self._memory.found.mode != LIVE:
            await app.go_to(self._memory.found.mode)
        if self._memory.notice:
            app.show_message(self._memory.notice, severity="warning", timeout=12)
        elif words := self._memory.found.describe():
            app.show_message(f"{words}\n--fresh starts without", title="Restored from last time", timeout=10)
            if app.session is not None:
                app.session.note(f"restored from last time: {words}")

    def tick(self, tick: int) -> None:
        """Keeps what has changed, in a thread: a slow disk holds up no key."""
        if self._memory is None or self._app.session is None or self._writing or tick % KEEP_EVERY:
            return
        if (now := self._now()) != self._kept:
            self._writing = True
            self._app.in_background("keeping the console's state", self._keep(now))

    async def keep(self) -> None:
        """On leaving."""
        if self._memory is not None and self._app.session is not None and (now := self._now()) != self._kept:
            await self._keep(now)

    async def _keep(self, now: SavedState) -> None:
        if self._memory is None:
            return
        self._kept = now  # also when it cannot be written: the same words every three seconds help nobody
        try:
            await asyncio.to_thread(self._memory.keep, now)
        except OSError as error:
            if not self._told:
                self._told = True
                words = f"The console's state cannot be kept in {self._memory.path} ({error.strerror})"
                self._app.show_message(words, severity="warning")
        finally:
            self._writing = False

    def _now(self) -> SavedState:
        """The state to keep. While a sweep runs, load and engine are those that the user had set before it."""
        app = self._app
        live = app.session.frame if app.session else app.frame
        before = self._memory.before if self._memory else SavedState()
        user = app.before_sweep
        load, engine = (user.load.spec, user.spec) if user else (live.load.spec, app.engine_spec)
        return SavedState(
            theme="" if app.theme == DARK.name else app.theme,
            mode=RUNS if app.current_mode == REPLAY else app.current_mode,
            zoom_s=app.view.span_s,
            log_y=app.view.log_y,
            load=load,
            engine=before.engine if live.engine.remote else replace(engine, port=0),
        )
