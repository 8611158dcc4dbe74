"""A sampling trajectory as a strip of pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Generator, Tensor

from rddm.core.entity import Entity
from rddm.core.errors import SpecError
from rddm.core.images import as_channels, to_array
from rddm.core.process import Node, Prediction, unchanged
from rddm.core.systems.trajectory import itinerary, trajectory
from rddm.plots.figure import DPI, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CELL = 1.45  # inches


def draw(
    entity: Entity,
    x_in: Tensor,
    file: FilePath,
    *,
    generator: Generator,
    columns: int = 6,
    steps: int | None = None,
    eta: float | None = None,
) -> None:
    """Write one figure of a trajectory, from T on the left to the clean image on the right.

    Rows are the state I_t and the predictions that the steps rest on: residual, noise, clean image, clipped as the
    sampler says. Residual and noise are signed, around mid grey, on the scale at their row, beyond which they saturate.

    Args:
        x_in: one input image (1, C, *S) in [-1, 1]; zeros for generation.
        generator: of all noise; the final image is the one that `restore` or `sample` draws from it.
        columns: times shown, at most, evenly chosen from those visited; both ends always.
        steps, eta: in place of the sampler's own.

    Raises:
        SpecError: no images, fewer than 2 columns, or as `rddm.core.systems.trajectory.trajectory`.
        OutputError: the file is no .png, .svg or .pdf, or cannot be written.
        RddmError: matplotlib is not installed.
    """
    if x_in.ndim != 4:
        raise SpecError("figure", [(("task", "ndim"), f"must be 2: images are drawn; given {x_in.ndim - 2}")])
    if columns < 2:
        raise SpecError("figure", [(("columns",), f"must be at least 2, T and 0; given {columns}")])
    path, times = itinerary(entity, steps)
    with torch.inference_mode():
        noise = torch.randn(x_in.shape, generator=generator, device=generator.device).to(x_in)
        found = list(trajectory(entity, x_in, steps=steps, eta=eta, generator=generator, noise=noise))
    to, back = (path.spectrum.to, path.spectrum.back) if path.spectrum else (unchanged, unchanged)
    start = back(path.on(tuple(x_in.shape[2:])).start(to(x_in), to(noise)))
    states = [start, *(state.x for state in found)]
    end = states[-1]
    said = [*(state.prediction for state in found), Prediction(end, x_in - end, torch.zeros_like(end))]
    shown = sorted({round(k * (len(times) - 1) / (columns - 1)) for k in range(columns)})
    loud = [max(1.0, float(path[times[k]].C.mean())) for k in shown]  # of processes that end in noise above the image
    limit = _limit([said[k].res for k in shown])
    rows = {
        "state $I_t$" + ("\n/ max(1, $C_t$)" if max(loud) > 1 else ""): [
            states[k] / by for k, by in zip(shown, loud, strict=True)
        ],
        f"residual\n(grey 0, ±{limit:.1f})": [said[k].res / limit for k in shown],
        "noise\n(grey 0, ±3)": [said[k].eps / 3 for k in shown],
        "clean image": [said[k].x0 for k in shown],
    }
    height = CELL * x_in.shape[-2] / x_in.shape[-1]
    with figure(file, CELL * len(shown) + 0.6, len(rows) * height + 0.6) as drawn:
        axes = drawn.subplots(len(rows), len(shown), squeeze=False)
        for row, (label, images) in zip(axes, rows.items(), strict=True):
            row[0].set_ylabel(label)
            for axis, image in zip(row, images, strict=True):
                _picture(axis, image[0])
        for axis, k in zip(axes[0], shown, strict=True):
            axis.set_title(_title(path[times[k]]), fontsize=8)


def _limit(residuals: Sequence[Tensor]) -> float:
    # not the largest of all, beside which the usual ones would be too pale to see
    largest = max(float(np.quantile(residual.abs().cpu().numpy(), 0.995)) for residual in residuals)
    return max(0.1, math.ceil(10 * largest - 1e-3) / 10)


def _title(node: Node) -> str:
    A, B, C = (float(part.mean()) for part in (node.A, node.B, node.C))
    if abs(A + B - 1) < 1e-9:
        return rf"$t$ = {node.t:.0f}" + "\n" + rf"$\bar\alpha$ = {B:.2f}, $\bar\beta$ = {C:.2f}"
    return rf"$t$ = {node.t:.0f}" + "\n" + rf"$A, B, C$ = {A:.2f}, {B:.2f}, {C:.2f}"


def _picture(axis: Axes, image: Tensor) -> None:
    array = to_array((image + 1) / 2)
    enlarged = max(array.shape[:2]) <= CELL * DPI
    array = as_channels(array[..., : 1 if array.shape[-1] < 3 else 3], 3)
    axis.imshow(array, interpolation="nearest" if enlarged else "antialiased")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
    axis.grid(False)
