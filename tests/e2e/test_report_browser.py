"""The page of results opens in a browser with every chart drawn, nothing is cut, and it prints on three pages.

Without a browser there is nothing to look with: where EMBEDCONSOLE_REQUIRE_BROWSER is set (.ci/run sets it) that is a
failure, elsewhere the page's own marks are counted instead.
"""

import json
import re
import subprocess
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

from console.measure.environment import environment
from console.model.engine import Engine, Machine, ModelCard
from console.report.charts import Bars, Dots, Lines, Spans, Stack
from console.report.document import document
from console.report.model import build_report
from console.report.render.html import as_html
from console.store.selectors import load_selection, resolve_selector
from tests.e2e.browser import FLAGS, browser
from tests.unit.console.support.made import store_in
from tests.unit.console.support.made_results import quick_in, results_in

LOOK = """<script>
const seen = [...document.querySelectorAll('svg.chart')].map(svg => {
  const frame = svg.getBoundingClientRect();
  const marks = [...svg.querySelectorAll('.mark')].map(mark => mark.getBoundingClientRect());
  const inside = box => box.left >= frame.left - 1 && box.right <= frame.right + 1
    && box.top >= frame.top - 1 && box.bottom <= frame.bottom + 1;
  const words = [...svg.querySelectorAll('text')].map(text => text.getBoundingClientRect());
  return {title: svg.querySelector('title').textContent, width: frame.width, height: frame.height,
    drawn: marks.filter(box => box.width > 0 && box.height > 0 && inside(box)).length,
    words: words.length, readable: words.filter(box => box.width > 0 && inside(box)).length,
    paint: getComputedStyle(svg.querySelector('.mark')).stroke};
});
document.body.innerHTML = '<pre id="seen">' + JSON.stringify(seen) + '</pre>';
</script>"""


LAYOUT = """<script>
const wide = name => [...document.querySelectorAll(name)].map(one => Math.round(one.getBoundingClientRect().width));
const cut = [...document.querySelectorAll('.wide, td, dd, p, code, main')]
  .filter(one => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== 'inline');
const seen = {page: document.documentElement.scrollWidth, cut: cut.map(one => one.textContent.slice(0, 60)),
  widths: [...new Set([...wide('svg.chart'), ...wide('table')])]};
document.body.innerHTML = '<pre id="seen">' + JSON.stringify(seen) + '</pre>';
</script>"""


def looked_at(program: str, page: Path, profile: Path) -> Any:
    """What the script at the end of the page has found in the browser."""
    done = subprocess.run(
        [program, *FLAGS, f"--user-data-dir={profile}", "--window-size=1200,900", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, f"the page did not load: {done.stdout[:300]} {done.stderr[-300:]}"
    return json.loads(unescape(found[1]))


def quick_page(folder: Path) -> str:
    """The page of a sweep of the preset `quick`, with as many facts as a real one has."""
    with store_in(folder) as store:
        quick_in(store)
        runs = load_selection(store, resolve_selector(store, "s-1"))
    packages = tuple((f"package-{number}", "1.23.4") for number in range(14))
    machine = Machine(
        system="Linux-6.18.44-x86_64-with-glibc2.36", host_name="vm", isa=("avx2", "avx512f"), packages=packages
    )
    card = ModelCard("sentence-transformers/all-MiniLM-L6-v2", 384, 256, "mean", True, "53aa5117" * 8, "fa48ebe3" * 8)
    facts = environment(Engine(cpu_model="AMD EPYC", cores=2, machine=machine, model=card))
    made_by = ["embedconsole sweep --preset quick"]
    return as_html(document(build_report([replace(run, environment=facts) for run in runs], ["s-1"], made_by=made_by)))


def test_every_chart_of_the_report_is_drawn(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        results_in(store)
        written = document(build_report(load_selection(store, resolve_selector(store, "made")), ["made"]))
    charts = [
        block
        for section in written.sections
        for block in section.blocks
        if isinstance(block, (Bars, Spans, Lines, Dots, Stack))
    ]
    html = as_html(written)
    assert len(charts) == 6
    assert len(re.findall(r'class="mark ', html)) == sum(chart.marks for chart in charts)
    if (program := browser()) is None:
        return
    page = tmp_path / "report.html"
    page.write_text(html.replace("</body>", f"{LOOK}</body>"), "utf-8")
    seen = looked_at(program, page, tmp_path / "profile")
    assert [one["title"] for one in seen] == [chart.title for chart in charts]
    for one, chart in zip(seen, charts, strict=True):
        assert one["drawn"] == chart.marks, one["title"]
        assert one["readable"] == one["words"], f"words run out of {one['title']}"
        assert one["width"] > 400
        assert one["height"] > 60
        assert one["paint"].startswith("rgb"), "the page's colours reach the marks"


def test_nothing_is_cut_and_charts_and_tables_have_one_width(tmp_path: Path) -> None:
    html = quick_page(tmp_path)
    assert html.count("<figure>") == 5
    if (program := browser()) is None:
        return
    page = tmp_path / "report.html"
    page.write_text(html.replace("</body>", f"{LAYOUT}</body>"), "utf-8")
    seen = looked_at(program, page, tmp_path / "profile")
    assert seen["cut"] == []
    assert seen["page"] <= 1200
    assert seen["widths"] == [1040]


def test_the_quick_sweep_prints_on_three_pages(tmp_path: Path) -> None:
    html = quick_page(tmp_path)
    assert "@page{size:A4" in html
    if (program := browser()) is None:
        return
    page, pdf = tmp_path / "report.html", tmp_path / "report.pdf"
    page.write_text(html, "utf-8")
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    subprocess.run(
        [program, *FLAGS, profile, "--no-pdf-header-footer", f"--print-to-pdf={pdf}", page.as_uri()],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes())) <= 3
