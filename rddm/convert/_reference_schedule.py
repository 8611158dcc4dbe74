"""The schedule of a published checkpoint, found again from the tables that it saves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from rddm.core.kinds import Schedule
from rddm.core.named import resolve

#: Tables that the published module saves beside its networks; row k belongs to t = k + 1 here.
BUFFERS = frozenset(
    [
        "alphas",
        "alphas_cumsum",
        "one_minus_alphas_cumsum",
        "betas",
        "betas2",
        "betas_cumsum",
        "betas2_cumsum",
        "posterior_mean_coef1",
        "posterior_mean_coef2",
        "posterior_mean_coef3",
        "posterior_variance",
        "posterior_log_variance_clipped",
    ]
)


def find(buffers: Mapping[str, Tensor], restores: bool) -> tuple[dict[str, Any], bool]:
    """The schedule's table for a spec, and whether the buffers say it; else the paper's for the kind of task.

    Tables that are none of the named schedules are kept as they are.
    """
    if not {"alphas_cumsum", "betas2_cumsum"} <= buffers.keys():
        return {"name": "power", "grid": "cells" if restores else "linspace", "beta_T2": 1.0}, False
    abar, variance = (buffers[key].double() for key in ("alphas_cumsum", "betas2_cumsum"))
    for table in _named(len(abar), float(f"{variance[-1].item():.5g}")):
        path = resolve(Schedule, table).path()
        misses = (path.B[1:] - abar).abs().amax(), (path.C[1:] ** 2 - variance).abs().amax() / variance.amax()
        if max(misses) < 2e-5:  # float32 sums of a thousand rates
            return table, True
    zero = torch.zeros(1, dtype=torch.float64)
    rows = {"abar": torch.cat([zero, abar]).tolist(), "bbar": torch.cat([zero, variance]).sqrt().tolist()}
    return {"name": "table", **rows}, True


def _named(T: int, beta_T2: float) -> Iterator[dict[str, Any]]:
    shapes = ("decreasing", "increasing", "mean")
    for grid in ("cells", "linspace"):
        for alpha in shapes:
            for beta2 in shapes:
                yield {"name": "power", "T": T, "grid": grid, "alpha": alpha, "beta2": beta2, "beta_T2": beta_T2}
    for betas in ("linear", "scaled-linear", "squared-cosine"):
        yield {"name": "ddim", "T": T, "betas": betas}
