"""Figures: their look, and the files they are written to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rddm.core.errors import OutputError, RddmError, SpecError
from rddm.core.files import fresh_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

C = TypeVar("C")
SUFFIXES = (".png", ".svg", ".pdf")
DPI = 150
#: Colours that the colour-blind tell apart (Okabe and Ito), without the yellow, which is too light for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLE: dict[Any, Any] = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "font.size": 9,
    "grid.alpha": 0.3,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}


@contextmanager
def figure(file: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure of so many inches, written to `file` whole or not at all, when the block ends well; no global state.

    Raises:
        OutputError: the file is no .png, .svg or .pdf, or cannot be written.
        RddmError: matplotlib is not installed.
    """
    check(file)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        drawn = Figure(figsize=(width, height), layout="constrained")
        yield drawn
        with fresh_file(file) as temporary:
            drawn.savefig(temporary, dpi=DPI)


def check(file: Path) -> None:
    """Refuse a file that `figure` could not write, before any work is done; errors as there."""
    if file.suffix.lower() not in SUFFIXES:
        raise OutputError(f"figures are written to files named {' '.join(SUFFIXES)}; given {file.name!r}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as missing:
        raise RddmError("figures need matplotlib; pip install 'residual-diffusion[plot]'") from missing


def coloured(curves: Mapping[str, C]) -> Iterator[tuple[str, C, str]]:
    """Every curve with its name, as a label, and its colour.

    Raises:
        SpecError: there are more curves than colours.
    """
    if len(curves) > len(COLOURS):
        raise SpecError("figure", [((), f"at most {len(COLOURS)} curves can be told apart; given {len(curves)}")])
    for (name, curve), ink in zip(curves.items(), COLOURS, strict=False):
        yield plain(name), curve, ink


def legend(drawn: Figure, axis: Axes) -> None:
    """The legend of an axis's curves, above the whole figure, in as few rows as its names need."""
    handles, labels = axis.get_legend_handles_labels()
    letters = sum(len(label) + 9 for label in labels)  # with the line before each
    rows = math.ceil(letters / (12 * drawn.get_figwidth()))
    drawn.legend(handles, labels, loc="outside upper center", ncols=math.ceil(len(labels) / rows))


def plain(text: str) -> str:
    """Text of a user as a label, in which dollar signs are no mathematics."""
    return text.replace("$", r"\$")


def average(table: Tensor) -> Tensor:
    """A table (T + 1,) of the means of one (T + 1, *K) whose coefficients differ by pixel or frequency."""
    return table.flatten(1).mean(1) if table.ndim > 1 else table
