"""The documents say what is there: docstrings, help, links, headings, options, make targets and paths all exist."""

import importlib
import inspect
import pkgutil
import re
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import click
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
GUIDES = ("console", "experiments", "precisions", "engine", "promises", "performance", "development")
README_LINES = 150

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_OPTION = re.compile(r"(?<![\w-])--?[a-zA-Z][\w-]*")
_MAKE = re.compile(r"\bmake ([a-z][a-z-]*)\b")
_OWN_PATH = re.compile(r"(?:console|engine|tests|benchmarks|proto|docs|\.ci)/[\w./-]*")
_TEST = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)
_NO_HELP = re.compile(r"\[default:[^\]]*\]|\s")
"""What says nothing of an option: its default alone."""
_SHELL = {"sh", "console", "bash"}


@dataclass(frozen=True, slots=True)
class Page:
    """One document."""

    name: str
    text: str

    @property
    def blocks(self) -> list[tuple[str, str]]:
        """(language, code) of each fenced block."""
        return _FENCE.findall(self.text)

    @property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return _FENCE.sub("", self.text)

    @property
    def spans(self) -> list[str]:
        """The inline code."""
        return _CODE_SPAN.findall(self.prose)

    @property
    def anchors(self) -> set[str]:
        """The headings as GitHub names them in a URL."""
        found: set[str] = set()
        for heading in _HEADING.findall(self.prose):
            slug = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")
            number = next(number for number in range(100) if (f"{slug}-{number}" if number else slug) not in found)
            found.add(f"{slug}-{number}" if number else slug)
        return found


@cache
def pages() -> dict[str, Page]:
    """Every document of the project by its path."""
    names = [*PAGES, *(f"docs/{name}.md" for name in GUIDES)]
    return {name: Page(name, (ROOT / name).read_text("utf-8")) for name in names}


@cache
def command_lines() -> dict[str, click.Command]:
    """The root of each command line by the program's name, found as the installed scripts find it."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    return {name: importlib.import_module(entry.partition(":")[0]).cli for name, entry in scripts.items()}


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with its path as it is typed."""

    def below(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        yield path, command
        for name, inner in getattr(command, "commands", {}).items():
            yield from below(f"{path} {name}", inner)

    for name, root in command_lines().items():
        yield from below(name, root)


def written_commands(code: str) -> Iterator[list[str]]:
    """The words of each `engine …` and `embedconsole …` in shell code, without a folder before the program's name."""
    for row in code.replace("\\\n", " ").splitlines():
        try:
            words = shlex.split(row.removeprefix("$ "), comments=True)
        except ValueError:  # a template, or words of another language
            continue
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words.pop(0)
        for end, word in enumerate(words):
            if word in ("|", "&&", ";", ">", "&"):
                del words[end:]
                break
        if words and (program := Path(words[0]).name) in command_lines():
            yield [program, *words[1:]]


def resolve(words: Sequence[str]) -> tuple[click.Command, list[str]]:
    """The command that these words run, and its arguments."""
    command, rest = command_lines()[words[0]], list(words[1:])
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]  # type: ignore[attr-defined]
    return command, rest


def options_of(command: click.Command) -> set[str]:
    """Every spelling of every option, help included."""
    context = click.Context(command, **command.context_settings)
    return {
        spelling
        for parameter in command.get_params(context)
        for spelling in (*parameter.opts, *parameter.secondary_opts)
    }


# ---- docstrings


def public_api() -> Iterator[tuple[str, object]]:
    """Modules, classes, functions and methods of `engine.api` that are not generated."""
    api = importlib.import_module("engine.api")
    names = [one.name for one in pkgutil.walk_packages(api.__path__, "engine.api.")]
    for name in ("engine.api", *(name for name in names if not name.startswith("engine.api.embed"))):
        module = importlib.import_module(name)
        yield name, module
        yield from _members(name, module, module)


def _members(name: str, owner: object, module: ModuleType) -> Iterator[tuple[str, object]]:
    for attribute, value in vars(owner).items():
        found = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        own = getattr(found, "__module__", "") == module.__name__
        if attribute.startswith("_") or not own or not (inspect.isfunction(found) or inspect.isclass(found)):
            continue
        yield f"{name}.{attribute}", found
        if inspect.isclass(found):
            yield from _members(f"{name}.{attribute}", found, module)


def test_everything_public_in_the_api_of_the_engine_has_a_docstring() -> None:
    found = dict(public_api())
    assert "engine.api.client.EmbedClient.embed" in found
    assert not [name for name, value in found.items() if not inspect.getdoc(value)]


# ---- help


def test_every_command_and_every_option_has_help() -> None:
    missing = [path for path, command in commands() if not command.help]
    for path, command in commands():
        shown = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
        missing += [f"{path} {option.opts[-1]}" for option in shown if not _NO_HELP.sub("", option.help or "")]
    assert not missing


# ---- links


def links() -> list[tuple[str, str]]:
    return [(page.name, target) for page in pages().values() for target in _LINK.findall(page.prose)]


def test_every_link_of_a_document_leads_to_a_file_and_a_heading_that_exist() -> None:
    broken = []
    for name, target in links():
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        file = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        page = pages().get(str(file.relative_to(ROOT)))
        if not file.exists() or (anchor and (page is None or anchor not in page.anchors)):
            broken.append(f"{name}: {target}")
    assert len(links()) > 10
    assert not broken


def test_every_guide_can_be_reached_from_the_readme() -> None:
    targets = {target.partition("#")[0] for name, target in links() if name == "README.md"}
    guides = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")}
    assert guides == {f"docs/{name}.md" for name in GUIDES}
    assert guides | {"ARCHITECTURE.md", "CONTRIBUTING.md"} <= targets


def test_every_promise_names_tests_that_exist_and_every_test_of_a_promise_is_named() -> None:
    named = {span for span in pages()["docs/promises.md"].spans if span.startswith("test_") and "." not in span}
    files = [path for path in (ROOT / "tests/promises").glob("test_*.py") if path.name != "test_faults.py"]
    written = {name for path in files for name in _TEST.findall(path.read_text())}
    assert named == written


def test_the_readme_is_short() -> None:
    assert len(pages()["README.md"].text.splitlines()) <= README_LINES


# ---- commands, make targets, paths


def test_every_command_in_a_code_block_parses_as_it_is_written() -> None:
    refused, count = [], 0
    for page in pages().values():
        for language, code in page.blocks:
            for words in written_commands(code) if language in _SHELL else ():
                count += 1
                command, rest = resolve(words)
                try:
                    command.make_context(words[0], rest, resilient_parsing=False)
                except click.exceptions.Exit:  # --help and --version
                    continue
                except click.ClickException as error:
                    refused.append(f"{page.name}: {shlex.join(words)}: {error.format_message()}")
    assert count > 20
    assert not refused


def test_every_option_in_inline_code_exists_in_the_command_that_is_named() -> None:
    wrong = []
    for page in pages().values():
        for span in page.spans:
            words = span.split()
            if words[0] not in command_lines():
                continue
            command, rest = resolve(words)
            unknown = set(_OPTION.findall(" ".join(rest))) - options_of(command)
            wrong += [f"{page.name}: `{span}`: {option}" for option in sorted(unknown)]
    assert not wrong


def test_every_option_that_stands_alone_in_inline_code_exists_somewhere() -> None:
    known = {option for _, command in commands() for option in options_of(command)}
    wrong = []
    for page in pages().values():
        if page.name in ("CHANGELOG.md", "docs/performance.md", "docs/development.md"):  # options of other programs too
            continue
        alone = [span for span in page.spans if span.startswith("--")]
        wrong += [f"{page.name}: `{span}`" for span in alone if not set(_OPTION.findall(span)) <= known]
    assert not wrong


def test_every_make_target_that_a_document_names_exists() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {
        (page.name, target)
        for page in pages().values()
        for code in (*page.spans, *(code for language, code in page.blocks if language in _SHELL))
        for target in _MAKE.findall(code)
    }
    assert ("README.md", "console") in named
    assert not {(name, target) for name, target in named if target not in targets}


def test_every_path_of_the_project_that_a_document_names_exists() -> None:
    missing = set()
    for page in pages().values():
        if page.name == "CHANGELOG.md":  # it tells what was
            continue
        paths = {span for span in page.spans if _OWN_PATH.fullmatch(span)}
        missing |= {f"{page.name}: {path}" for path in paths if not (ROOT / path).exists()}
    assert not missing


@pytest.mark.parametrize("target", ["test", "test-fast", "lint", "ci", "bench", "console"])
def test_make_without_a_target_explains_the_ones_that_people_use(target: str) -> None:
    assert f'"make {target} ' in (ROOT / "Makefile").read_text("utf-8")
