"""`python draw.py RESULTS FOLDER`: draw the charts of `results.json`, light and dark.

Runs in the environment of the peers, which has matplotlib.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt
from matplotlib.ticker import EngFormatter

_THEMES = {
    "light": {"text.color": "#1f2328", "axes.edgecolor": "#8c959f", "grid.color": "#d0d7de"},
    "dark": {"text.color": "#e6edf3", "axes.edgecolor": "#7d8590", "grid.color": "#30363d"},
}
_STYLE = {
    "axes.grid": True,
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",  # text stays text, which the browser draws and a person can read in a diff
    "svg.hashsalt": "sluice",
}
_COLORS = ("#2f81f7", "#d29922", "#3fb950", "#a371f7")
_SIZE = (6.4, 3.2)


@dataclass(frozen=True)
class Chart:
    """A chart of one curve.

    Parameters
    ----------
    file
        Name of the image, without the theme and the suffix.
    detail_of
        Part of the name of the result that it shows.
    figures
        Key in the result's detail: size → figure.
    x_label, y_label
        Labels of the axes.
    logarithmic
        Whether the axis of the figures is logarithmic too, as that of the sizes always is.
    """

    file: str
    detail_of: str
    figures: str
    x_label: str
    y_label: str
    logarithmic: bool = False


_CHARTS = (
    Chart("rows_per_second", "one chunk of up to", "rows_per_second", "transactions in one chunk", "rows/s"),
    Chart("memory", "one chunk of up to", "vmhwm_mib", "transactions in one chunk", "MiB"),
    Chart("chunks", "transactions in 256 chunks", "rows_per_second", "chunks of 256,000 transactions", "rows/s"),
    Chart("planning", "plan of chunks over", "seconds", "provider accounts", "seconds", logarithmic=True),
)
_PEERS = "dlt tuned, two processes"
_SIDE_PREFIX = "rows_per_second_"
_INCREMENT = "a daily increment, "
_INCREMENT_COSTS = {
    "seconds": "time",
    "cpu_seconds": "processor time of Postgres",
    "wal_bytes": "write-ahead log",
    "pages": "pages touched",
}
_SLUICE_SIDE = "sluice"


def main(results: Path, folder: Path) -> None:
    """Draw the charts whose results exist."""
    rows = json.loads(results.read_text(encoding="utf-8"))
    folder.mkdir(exist_ok=True)
    for theme, colors in _THEMES.items():
        labels = dict.fromkeys(("axes.labelcolor", "xtick.color", "ytick.color"), colors["text.color"])
        with mpl.rc_context({**_STYLE, **colors, **labels}):
            for chart in _CHARTS:
                for row in [row for row in rows if chart.detail_of in row["name"]][:1]:
                    _curve(chart, row["detail"][chart.figures], folder / f"{chart.file}.{theme}.svg")
            for row in [row for row in rows if _PEERS in row["name"]][:1]:
                _bars(row["detail"], folder / f"peers.{theme}.svg")
            for row in [row for row in rows if row["name"].startswith(_INCREMENT)][:1]:
                _growth(row["detail"], folder / f"table_size.{theme}.svg")


def _curve(chart: Chart, figures: Mapping[str, float], path: Path) -> None:
    figure, axes = plt.subplots(figsize=_SIZE)
    axes.plot([int(size) for size in figures], list(figures.values()), marker="o", color=_COLORS[0])
    axes.set_xscale("log")
    if chart.logarithmic:
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 1.1 * max(figures.values()))
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    _save(figure, path)


def _growth(detail: Mapping[str, list[float]], path: Path) -> None:
    """Draw what a daily increment costs by the size of its table, relative to the smallest table."""
    figure, axes = plt.subplots(figsize=_SIZE)
    for color, (cost, label) in zip(_COLORS, _INCREMENT_COSTS.items(), strict=True):
        medians = {
            int(key.removeprefix(f"{cost}_")): median(figures)
            for key, figures in detail.items()
            if key.startswith(f"{cost}_")
        }
        smallest = medians[min(medians)]
        axes.plot(
            list(medians), [figure / smallest for figure in medians.values()], marker="o", color=color, label=label
        )
    axes.set_xscale("log")
    axes.set_ylim(0, 2)
    axes.set_xlabel("rows in the table before a daily increment")
    axes.set_ylabel("beside the smallest")
    axes.legend(frameon=False, labelcolor=plt.rcParams["text.color"])
    _save(figure, path)


def _bars(detail: Mapping[str, Any], path: Path) -> None:
    rates = {key.removeprefix(_SIDE_PREFIX): value for key, value in detail.items() if key.startswith(_SIDE_PREFIX)}
    names = [
        f"Sluice,{name.removeprefix(_SLUICE_SIDE).replace('_', ' ')}"
        if name.startswith(_SLUICE_SIDE)
        else f"dlt, {_label(name)}"
        for name in rates
    ]
    figure, axes = plt.subplots(figsize=_SIZE)
    axes.barh(names, list(rates.values()), color=[_COLORS[not name.startswith(_SLUICE_SIDE)] for name in rates])
    axes.invert_yaxis()
    axes.set_xlabel("rows/s")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    _save(figure, path)


def _label(name: str) -> str:
    variant, _, table = name.rpartition("_")
    return f"{variant}, keyed table" if table == "keyed" else variant


def _save(figure: Any, path: Path) -> None:  # noqa: ANN401 - matplotlib's figure
    for axes in figure.axes:
        axes.patch.set_alpha(0)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, transparent=True, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
