"""Draws ratios to the base as one SVG.

python -m benchmarks.peers.plot BASE OUT < rows.json    (in the environment of the tools)
"""

import json
import sys
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

COLOURS = {"encode": "#8c8c8c", "infinity": "#d1733c", "raw": "#b9a9d6", "ours": "#2f6f9f"}
STREAMED = "#5fb3a1"
COLUMNS = 3
ROW_IN, PANEL_WIDTH_IN, FRAME_IN = 0.2, 4.2, 0.9


def main() -> None:
    """Draws one panel per workload and one line per contender, with a logarithmic axis and 95 % intervals."""
    base, out = sys.argv[1:]
    rows = json.load(sys.stdin)
    workloads = list(dict.fromkeys(row["workload"] for row in rows))
    names = list(dict.fromkeys(row["contender"] for row in rows))[::-1]
    columns = min(COLUMNS, len(workloads))
    lines = -(-len(workloads) // columns)
    size = (PANEL_WIDTH_IN * columns + 1.5, lines * (ROW_IN * len(names) + FRAME_IN))
    figure, panels = plt.subplots(lines, columns, figsize=size, sharex=True, sharey=True, squeeze=False)
    for panel in panels.flat[len(workloads) :]:
        panel.set_visible(False)
    for panel, workload in zip(panels.flat, workloads, strict=False):
        draw(panel, workload, [row for row in rows if row["workload"] == workload], names)
    figure.supxlabel(f"texts/s, × {base} (95 % interval)")
    figure.tight_layout()
    figure.savefig(out)


def draw(panel: Any, workload: str, rows: list[dict[str, Any]], names: list[str]) -> None:
    """Draws one workload."""
    panel.set_title(workload, loc="left", fontsize=10)
    panel.axvline(1.0, color="#bbbbbb", linewidth=1)
    for row in rows:
        place, name = names.index(row["contender"]), row["contender"]
        colour = STREAMED if name.endswith(" streamed") else COLOURS[name.partition(" ")[0]]
        if row["low"] is not None:
            panel.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
        panel.plot(row["ratio"], place, "o", color=colour, markersize=4.5)
    panel.set_yticks(range(len(names)), names, fontsize=8)
    panel.set_ylim(-0.7, len(names) - 0.3)
    panel.set_xscale("log", base=2)
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.grid(axis="x", color="#eeeeee")
    panel.set_axisbelow(True)
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)
    panel.tick_params(axis="y", length=0)


if __name__ == "__main__":
    main()
