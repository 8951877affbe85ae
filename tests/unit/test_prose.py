"""Private terms are found in what people read, and nowhere else."""

from pathlib import Path

import pytest

from tests.prose import LIST, ROOT, Found, Term, TermList, counts, main, passages_of_python, read_list, scan

SOURCE = '''"""A lone
text in a docstring."""

lone_text = 1  # no yardstick


def handover(lone: int) -> str:
    # a comment that begins with lone
    # texts goes on
    return f"the {lone_text!r} of a Yardstick" "s end"
'''
TERMS = TermList(
    [Term("lone texts?", "single text"), Term("yardsticks?", "reference", allowed=("product/allowed.py",))],
    python=["product"],
    markdown=["*.md"],
    exclude=["product/generated/*"],
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("seen.py", "allowed.py", "generated/stubs.py"):
        path = tmp_path / "product" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SOURCE)
    (tmp_path / "README.md").write_text("# A page\n\nNo handover, a yardstick, milestones of lone textures.\n")
    return tmp_path


def places(found: list[Found]) -> list[tuple[str, int, str]]:
    return [(one.path, one.line, one.words) for one in found]


def test_docstrings_comments_strings_and_pages_are_read_and_identifiers_are_not(tree: Path) -> None:
    found = places(scan(tree, TERMS))
    assert [one for one in found if one[0] == "product/seen.py"] == [
        ("product/seen.py", 1, "lone text"),
        ("product/seen.py", 4, "yardstick"),
        ("product/seen.py", 8, "lone texts"),
        ("product/seen.py", 10, "Yardsticks"),
    ]
    assert [one for one in found if one[0] == "README.md"] == [("README.md", 3, "yardstick")]


def test_a_term_is_not_reported_where_it_is_allowed_or_in_generated_code(tree: Path) -> None:
    found = places(scan(tree, TERMS))
    assert {words for path, _, words in found if path == "product/allowed.py"} == {"lone text", "lone texts"}
    assert not [path for path, _, _ in found if "generated" in path]


def test_a_term_for_pages_alone_leaves_code_in_peace(tree: Path) -> None:
    pages = TermList([Term("yardstick", "reference", only=("*.md",))], ["product"], ["*.md"], [])
    assert places(scan(tree, pages)) == [("README.md", 3, "yardstick")]


def test_counts_are_by_term_and_package(tree: Path) -> None:
    assert counts(scan(tree, TERMS)).splitlines() == [
        "    7  in all",
        "    4  lone texts?: product/allowed.py 2, product/seen.py 2",
        "    3  yardsticks?: product/seen.py 2, README.md 1",
    ]


def test_comments_of_adjacent_lines_are_one_passage() -> None:
    passages = [one.text for one in passages_of_python("# one\n# two\n\n# three\nx = 1  # four\n")]
    assert passages == [" one\n two", " three\n four"]


def test_the_command_fails_where_a_term_is_found(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "README.md").write_text("A yardstick.\n")
    assert main(["--root", str(tree)]) == 1
    assert "README.md:1: 'yardstick': write reference" in capsys.readouterr().out


def test_the_documents_of_the_project_have_no_private_terms() -> None:
    wanted = read_list(ROOT / LIST)
    pages = TermList(wanted.terms, [], wanted.markdown, wanted.exclude)
    assert not [str(one) for one in scan(ROOT, pages)]
