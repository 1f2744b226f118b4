"""Pictures of figures: in the terminal by plotext, into a PNG or SVG file by matplotlib. Both imported when used."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nova.cli.terminal import colourful, note
from nova.errors import UsageProblem

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Plot = Annotated[bool, typer.Option("--plot", help="Draw it in the terminal.")]
ChartFile = Annotated[
    Path | None, typer.Option("--chart", metavar="FILE", help="Draw it into this file, .png or .svg.")
]

_FORMATS = ("png", "svg")
_TICKS = 8
_MARKS = "*.o+x"
_SIZE = (9.0, 3.6)  # inches; a panel more adds two thirds of the height
_COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a", "#bf3989", "#0a7ea4")


@dataclass(frozen=True, slots=True)
class Series:
    """One value for each place on the axis; None where there is none."""

    name: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Band:
    """What lies between two series."""

    name: str
    low: Sequence[float | None]
    high: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines, bars stacked on each other (those below zero downward), and a band, in one `unit`."""

    unit: str
    lines: Sequence[Series] = ()
    bars: Sequence[Series] = ()
    band: Band | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """Panels over one axis of days or months. A terminal shows the first."""

    title: str
    x: Sequence[str]
    x_name: str
    panels: Sequence[Panel]


def draw(chart: Chart, *, plot: bool, file: Path | None) -> bool:
    """Into the file, the terminal or both; whether the terminal shows it. Raises UsageProblem for a strange file."""
    if file is not None:
        save(chart, file)
        note(f"drawn into {file}")
    if plot:
        show(chart)
    return plot


def show(chart: Chart) -> None:
    """Lines told apart by colour, or by their marks where there is none."""
    import plotext

    colours, figure = colourful(), plotext.figure
    figure.clear()
    figure.theme("simple" if colours else "colorless")
    panel = chart.panels[0]
    lines = [*panel.lines]
    if panel.band is not None:
        lines += [Series("at most", panel.band.high), Series("at least", panel.band.low)]
    for number, line in enumerate(lines):
        known = [(place, value) for place, value in enumerate(line.values) if value is not None]
        if known:
            places, values = [place for place, _ in known], [value for _, value in known]
            drawn = figure.signal(places, values, marker="braille" if colours else _MARKS[number % len(_MARKS)])
            drawn.lines()
            drawn.label(line.name)
            figure.draw(drawn)
    places = _ticks(len(chart.x), 6)
    figure.ruler("x").ticks(places, [chart.x[place] for place in places])
    if ticks := _money_ticks([value for line in lines for value in line.values if value is not None]):
        figure.ruler("y").ticks(ticks, [f"{value:,.0f}" if ticks[-1] >= 100 else f"{value:,.2f}" for value in ticks])
    figure.title(f"{chart.title}, {panel.unit}")
    figure.plot_size(*_terminal())
    picture = str(figure.build())
    drawn_lines = (picture if colours else plotext.uncolorize(picture)).splitlines()
    sys.stdout.write("\n".join(text.rstrip() for text in drawn_lines).rstrip() + "\n")


def _money_ticks(values: Sequence[float]) -> list[float]:
    """From the least to the most, five; none where all is the same."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    return [low + (high - low) * n / 4 for n in range(5)] if low < high else []


def _terminal() -> tuple[int, int]:
    found = shutil.get_terminal_size((100, 22))
    return min(found.columns, 120), max(10, min(found.lines - 2, 20))


def _ticks(length: int, most: int) -> list[int]:
    return list(range(0, length, max(1, -(-length // most))))


def checked(file: Path | None) -> Path | None:
    """Itself, before anything is read for it. Raises UsageProblem."""
    if file is None:
        return None
    if file.suffix.lower().removeprefix(".") not in _FORMATS:
        raise UsageProblem(f"cannot draw into {file.name!r}", hint="name a file that ends with .png or .svg")
    if not file.absolute().parent.is_dir():
        raise UsageProblem(f"there is no folder {file.absolute().parent}", hint="make it first")
    return file


def save(chart: Chart, file: Path) -> None:
    """The whole file or none of it; the same figures give the same bytes. Raises UsageProblem."""
    kind = file.suffix.lower().removeprefix(".")
    checked(file)
    try:
        handle, name = tempfile.mkstemp(dir=file.absolute().parent, prefix=f".{file.name}.")
        scratch = Path(name)
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(_picture(chart, kind))
            scratch.replace(file)
        finally:
            scratch.unlink(missing_ok=True)
    except OSError as problem:
        raise UsageProblem(f"cannot write {file}: {problem.strerror}") from problem


def _picture(chart: Chart, kind: str) -> bytes:
    import io
    import warnings

    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    out = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "nova"}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name in letters that the font lacks is drawn as boxes
        height = _SIZE[1] * (1 + 2 * (len(chart.panels) - 1) / 3)
        figure = Figure(figsize=(_SIZE[0], height), layout="constrained")
        FigureCanvasAgg(figure)
        found = figure.subplots(len(chart.panels), sharex=True, squeeze=False)
        for axes, panel in zip(found[:, 0], chart.panels, strict=True):
            _panel(axes, panel)
        last = found[-1, 0]
        places = _ticks(len(chart.x), _TICKS)
        last.set_xticks(places, [chart.x[place] for place in places])
        last.set_xlabel(chart.x_name)
        figure.suptitle(chart.title, x=0.01, ha="left", fontweight="bold", parse_math=False)
        figure.savefig(out, format=kind, dpi=144, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return out.getvalue()


def _panel(axes: Axes, panel: Panel) -> None:
    from matplotlib.ticker import FuncFormatter

    colours = iter(_COLOURS * 3)
    if panel.bars:
        _bars(axes, panel.bars, [next(colours) for _ in panel.bars])
    for line in panel.lines:
        values = [float("nan") if value is None else value for value in line.values]
        alone = sum(value is not None for value in line.values) == 1
        axes.plot(values, label=line.name, color=next(colours), linewidth=1.8, marker="o" if alone else None)
    if panel.band is not None:
        edges: list[list[Any]] = [
            [float("nan") if value is None else value for value in edge] for edge in (panel.band.low, panel.band.high)
        ]
        axes.fill_between(
            range(len(edges[0])), edges[0], edges[1], alpha=0.2, color=_COLOURS[0], linewidth=0, label=panel.band.name
        )
    shown = [line.name for line in (*panel.lines, *panel.bars)]
    several = len(shown) + (panel.band is not None) > 1
    axes.set_ylabel(panel.unit if several else f"{shown[0]}, {panel.unit}", parse_math=False)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if several:
        legend = axes.legend(
            frameon=False, fontsize="small", ncols=len(_COLOURS), loc="lower right", bbox_to_anchor=(1, 1)
        )
        for text in legend.get_texts():
            text.set_parse_math(False)


def _bars(axes: Axes, bars: Sequence[Series], colours: Sequence[str]) -> None:
    places = range(len(bars[0].values))
    above, below = [0.0] * len(places), [0.0] * len(places)
    for series, colour in zip(bars, colours, strict=True):
        values = [value or 0.0 for value in series.values]
        bottoms = [above[n] if value >= 0 else below[n] for n, value in enumerate(values)]
        axes.bar(places, values, bottom=bottoms, label=series.name, color=colour, width=0.8)
        for n, value in enumerate(values):
            if value >= 0:
                above[n] += value
            else:
                below[n] += value
    axes.axhline(0, color="#57606a", linewidth=0.8)
