"""Ways of sampling in the plane of residual and noise."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import torch

from rddm.core.process import Path
from rddm.plots.figure import average, coloured, figure, legend, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(panels: Mapping[str, Mapping[str, tuple[Path, list[int]]]], file: FilePath) -> None:
    """Write one figure with a panel for each grid, in it each route by name: its path, and the times visited.

    Horizontal is `1 - A_t`, which is abar_t in RDDM's form, vertical `C_t`, its bbar_t. Dots are the states that
    sampling visits, arrows its direction. Where coefficients differ by pixel or frequency, their mean is drawn.

    Raises:
        SpecError: there are more than seven routes.
        OutputError: the file is no .png, .svg or .pdf, or cannot be written.
        RddmError: matplotlib is not installed.
    """
    with figure(file, 4.6 * len(panels) + 0.4, 5.2) as drawn:
        axes = drawn.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for axis, (title, routes) in zip(axes, panels.items(), strict=True):
            for name, (path, times), ink in coloured(routes):
                _curve(axis, path, times, name, ink)
            _corners(axis, next(iter(routes.values()))[0])
            axis.set_title(plain(title))
            axis.set_xlabel(r"$\bar\alpha$: share of the residual")
            axis.margins(0.06, 0.12)
        axes[0].set_ylabel(r"$\bar\beta$: standard deviation of the noise")
        legend(drawn, axes[0])


def _curve(axis: Axes, path: Path, times: list[int], name: str, ink: str) -> None:
    x, y = (average(table) for table in (1 - path.A, path.C))
    axis.plot(x, y, color=ink, label=name, alpha=0.8)
    axis.plot(x[times], y[times], "o", color=ink, markersize=4.5)
    lengths = torch.hypot(x.diff(), y.diff()).cumsum(0)
    lengths = torch.cat([lengths.new_zeros(1), lengths])
    legs = [(lengths[now] - lengths[to], (lengths[now] + lengths[to]) / 2) for now, to in pairwise(times)]
    for half in (legs[: (len(legs) + 1) // 2], legs[(len(legs) + 1) // 2 :]):
        if half:  # an arrow in the middle of the longest step
            middle, size = max(half)[1], 0.01 * lengths[-1]
            tip, tail = (int((lengths - at).abs().argmin()) for at in (middle - size, middle + size))
            arrow = {"arrowstyle": "-|>", "color": ink, "mutation_scale": 14, "shrinkA": 0, "shrinkB": 0}
            axis.annotate("", (x[tip], y[tip]), (x[tail], y[tail]), arrowprops=arrow)


def _corners(axis: Axes, path: Path) -> None:
    # what the state is where neither, one or both are in it
    x, y = average(path.B)[-1], average(path.C)[-1]
    if ((path.A + path.B - 1).abs() < 1e-9).all() and x > 0 and y > 0:
        noise, residual = r" + $\bar\beta_T\,\epsilon$", r"$I_0$ + $\bar\alpha_T\,I_{res}$"
        for right, top, text in (
            (0, 0, "$I_0$"),
            (x, 0, residual),
            (0, y, "$I_0$" + noise),
            (x, y, residual + noise),
        ):
            place: dict[str, Any] = {"ha": "right" if right else "left", "va": "bottom" if top else "top"}
            offset = (0, 7 if top else -7)
            axis.annotate(text, (right, top), offset, textcoords="offset points", color="dimgrey", **place)
