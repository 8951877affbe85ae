"""What the screens say in each state of the session, at every size, and what they keep safe from."""

from dataclasses import replace

import pytest
from textual.geometry import Size

from console.actions.action import MODES
from console.model.engine import ModelCard, Notice
from console.model.frame import Frame, LogLine
from console.model.load import LoadSpec
from console.tui.panels import header, keybar
from console.tui.panels.live import load, now, stages
from console.tui.screens.modes.live import layout_for
from console.tui.screens.modes.log import LogScreen
from console.tui.styled_text import clean, clip, line, plain, width_of, wrap
from console.tui.view import View
from tests.console.conftest import Open
from tests.console.fakes import scenes

SCENES = [
    scenes.stopped,
    scenes.starting,
    scenes.idle,
    scenes.busy,
    scenes.few,
    scenes.fallback,
    scenes.switching,
    scenes.lost,
    scenes.hung,
]


async def test_every_state_is_drawn_at_every_size_and_resizing_never_ends_it(console: Open) -> None:
    async with console(scenes.busy()) as it:
        for scene in SCENES:
            it.session.frame = scene()
            await it.beat(2)
        for size in ((20, 5), (1, 1), (79, 24), (80, 23), (80, 24), (120, 40), (300, 90), (200, 50)):
            await it.pilot.resize_terminal(*size)
            it.session.frame = scenes.fallback()
            await it.beat(2)
            assert it.app.is_running


@pytest.mark.parametrize("width", range(20, 260, 7))
def test_no_key_in_the_bar_is_ever_cut_off_and_help_and_quit_are_always_there(width: int) -> None:
    for height in (1, 2):
        for mode in MODES:
            picture = keybar.keybar(scenes.busy(), View(mode=mode), Size(width, height))
            assert len(picture.lines) <= height
            assert all(width_of(spans) <= width for spans in picture.lines)
            text = " ".join(plain(spans) for spans in picture.lines)
            assert "? Help" in text
            assert "q Quit" in text


@pytest.mark.parametrize("width", range(20, 260, 7))
def test_the_header_fits_and_always_says_the_state(width: int) -> None:
    for scene in SCENES:
        spans = header.header(scene(), View(), Size(width, 1)).lines[0]
        assert width_of(spans) <= width
    assert "RUN" in plain(header.header(scenes.busy(), View(), Size(40, 1)).lines[0])


def test_the_narrow_rule_chooses_by_size() -> None:
    sizes = {(200, 50): "wide", (200, 49): "wide", (120, 40): "medium", (80, 24): "narrow", (79, 24): "tiny"}
    assert {size: layout_for(Size(*size)) for size in sizes} == sizes


async def test_below_80x24_only_banner_and_figures_are_left(console: Open) -> None:
    async with console(scenes.fallback(), (60, 14)) as it:
        shown = {tile.id for tile in it.app.screen.query("Tile") if tile.region.area and tile.display}
        assert {"banner", "now"} <= shown
        assert not shown & {"throughput", "latency", "queue", "matrix", "events"}


async def test_the_banner_stays_until_effective_equals_requested(console: Open) -> None:
    async with console(scenes.fallback(), (80, 24)) as it:
        banner = it.app.screen.query_one("#banner")
        assert banner.display
        assert "⚠" in it.text("banner")
        assert "i details" in it.text("banner")
        it.session.frame = scenes.busy()
        await it.beat()
        assert not banner.display


async def test_a_warning_without_a_fallback_is_a_banner_too(console: Open) -> None:
    notices = (Notice("slow", "fp16 is slow here", ""), Notice("other", "second"))
    frame = replace(scenes.busy(), engine=replace(scenes.BASE, warnings=notices))
    async with console(frame) as it:
        assert "WARNING" in it.text("banner")
        assert "+1 more" in it.text("banner")


async def test_starting_shows_its_phase_its_count_and_its_time(console: Open) -> None:
    async with console(scenes.starting(), (80, 24)) as it:
        said = it.text("progress")
        assert "STARTING" in said
        assert "export" in said
        assert "3/9" in said
        assert "12.3 s" in said


async def test_a_lost_engine_is_an_alarm_with_the_reason_and_the_key(console: Open) -> None:
    async with console(scenes.lost(), (80, 24)) as it:
        assert "ENGINE LOST" in it.text("alarm")
        assert "SIGKILL" in it.text("alarm")
        assert "restart the engine" in it.text("alarm")
        await it.press("r")
        assert it.session.calls == [("restart_engine",)]


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_an_engine_that_was_never_there_is_said_to_be_that(console: Open, size: tuple[int, int]) -> None:
    async with console(scenes.nobody(), size) as it:
        alarm = it.text("alarm")
        assert "✖ NO ENGINE AT 127.0.0.1:1" in alarm
        assert "LOST" not in it.text()
        assert "nothing listens at 127.0.0.1:1" in alarm
        assert "leave out --connect" in alarm
        assert "trying again every second" in alarm
        assert "restart" not in it.text()
        await it.press("L")
        assert "No engine answers at 127.0.0.1:1" in it.said


async def test_a_remote_engine_that_is_lost_is_not_offered_to_be_restarted(console: Open) -> None:
    lost = scenes.lost()
    async with console(replace(lost, engine=replace(lost.engine, remote=True)), (80, 24)) as it:
        assert "✖ ENGINE LOST" in it.text("alarm")
        assert "restart the engine" not in it.text("alarm")
        assert "trying again every second" in it.text("alarm")


async def test_a_hung_engine_shows_the_age_of_its_oldest_request(console: Open) -> None:
    async with console(scenes.hung()) as it:
        assert "no data from the engine for 7 s" in it.text("progress")
        assert "waited 12.3 s" in it.text("progress")


def test_percentiles_from_few_requests_are_marked() -> None:
    text = "\n".join(plain(row) for row in now.now(scenes.few(), View(), Size(46, 9)).lines)
    assert "~26.1" in text
    assert "provisional: n under 130" in text
    assert "~" not in "\n".join(plain(row) for row in now.now(scenes.busy(), View(), Size(46, 9)).lines)


def test_an_open_loop_shows_its_rate_how_late_it_sends_and_what_it_dropped() -> None:
    spec = LoadSpec(8, rate=250.0, arrival="constant")
    frame = replace(scenes.busy(), load=replace(scenes.busy().load, spec=spec, lag_p99_ms=0.42, dropped=1200))
    text = "\n".join(plain(row) for row in load.load(frame, View(), Size(60, 9)).lines)
    for part in ("250", "requests/s", "open loop, constant", "late p99 0.4 ms", "1,200 dropped"):
        assert part in text
    assert "concurr." not in text
    assert "b8 250/s open" in plain(header.header(frame, View(), Size(100, 1)).lines[0])
    figures = "\n".join(plain(row) for row in now.now(frame, View(), Size(46, 9)).lines)
    assert "open loop: latency from the scheduled time" in figures


def test_figures_carry_n_and_window() -> None:
    assert now.now(scenes.busy(), View(), Size(78, 1)).title == "now · 5 s window · n=1,206"


def test_bars_share_one_scale() -> None:
    rows = [plain(row) for row in stages.stages(scenes.busy(), View(), Size(60, 5)).lines]
    assert "76 %" in rows[2]
    assert rows[2].count("█") > 4 * rows[0].count("█")


async def test_markup_and_control_characters_in_names_and_errors_are_only_text(console: Open) -> None:
    nasty = "[red]x[/red]\x1b[2J\nnext"
    frame = scenes.fallback()
    engine = replace(
        frame.engine,
        model=ModelCard(nasty, 384, 256),
        warnings=(Notice("[b]code[/b]", nasty, nasty),),
        evidence=nasty,
        cpu_model=nasty,
    )
    log = (LogLine(1, "12:00:00", "engine", "error", nasty),)
    async with console(Frame(engine=engine, log=log, log_version=9)) as it:
        assert "[red]x[/red]" in it.text("banner")
        await it.press("i")
        assert "[b]code[/b]" in it.text("box")
        await it.press("escape", "5")
        assert "[red]x[/red]" in it.text("log")
        assert "\x1b" not in it.text()


def test_text_is_cut_at_cells_not_characters() -> None:
    assert width_of(clip(line("模型模型模型"), 7)) <= 7
    assert [plain(row) for row in wrap("one two three", 7)] == ["one two", "three"]
    assert clean("a\x00b\tc") == "a�b c"


def long_log(count: int) -> Frame:
    """Lines with a warning in each hundred."""
    levels = ["warning" if n % 100 == 50 else "info" for n in range(count)]
    entries = tuple(LogLine(n, "12:00:00", "engine", level, f"line {n} {level}") for n, level in enumerate(levels))
    return replace(scenes.busy(), log=entries, log_version=count)


async def test_the_log_follows_until_it_is_scrolled_and_follows_again(console: Open) -> None:
    async with console(long_log(500), (80, 24)) as it:
        await it.press("5")
        assert "line 499" in it.text("log")
        await it.press("k")
        it.session.frame = long_log(600)
        await it.beat()
        assert "line 599" not in it.text("log")
        assert "line 498" in it.text("log")
        await it.press("f")
        assert "line 599" in it.text("log")


async def test_a_scrolled_log_stays_at_its_line_when_old_ones_are_dropped(console: Open) -> None:
    async with console(long_log(500), (80, 24)) as it:
        await it.press("5", "g", "pagedown", "pagedown")
        first = it.text("log").splitlines()[0]
        frame = long_log(520)
        it.session.frame = replace(frame, log=frame.log[20:])
        await it.beat()
        assert it.text("log").splitlines()[0] == first


async def test_n_goes_from_warning_to_warning_and_starts_over(console: Open) -> None:
    async with console(long_log(300), (80, 24)) as it:
        await it.press("5")
        marked = []
        for _ in range(4):
            await it.press("n")
            marked.append(next(text for text in it.text("log").splitlines() if text.startswith("▸")))
        assert [" ".join(text.split()[4:6]) for text in marked] == ["line 50", "line 150", "line 250", "line 50"]


async def test_the_filter_keeps_lines_with_every_word_and_esc_clears_it(console: Open) -> None:
    async with console(long_log(300), (80, 24)) as it:
        await it.press("5", "slash", *"WARNING 15", "enter")
        assert [text.split()[4:6] for text in it.text("log").splitlines()] == [["line", "150"]]
        screen = it.app.screen
        assert isinstance(screen, LogScreen)
        assert screen.filter_text == "WARNING 15"
        await it.press("escape")
        assert len(it.text("log").splitlines()) > 10


async def test_letters_typed_into_the_filter_are_not_keys(console: Open) -> None:
    async with console(scenes.busy(), (80, 24)) as it:
        await it.press("5", "slash", *"sq1")
        assert isinstance(it.app.screen, LogScreen)
        assert it.session.calls == []
