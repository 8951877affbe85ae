"""The page of results opens in a browser with every chart drawn.

Without a browser there is nothing to look with: where EMBEDCONSOLE_REQUIRE_BROWSER is set (.ci/run sets it) that is a
failure, elsewhere the page's own marks are counted instead.
"""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from console.report.charts import Bars, Dots, Lines, Spans, Stack
from console.report.document import document
from console.report.html import as_html
from console.report.model import build_report
from console.store.selectors import load_selection, resolve_selector
from tests.e2e.browser import FLAGS, browser
from tests.unit.console.support.made import store_in
from tests.unit.console.support.made_results import results_in

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


def looked_at(program: str, page: Path, profile: Path) -> list[dict[str, Any]]:
    """What the browser has drawn of every chart."""
    done = subprocess.run(
        [program, *FLAGS, f"--user-data-dir={profile}", "--window-size=1200,900", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, f"the page did not load: {done.stdout[:300]} {done.stderr[-300:]}"
    seen: list[dict[str, Any]] = json.loads(found[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))
    return seen


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
