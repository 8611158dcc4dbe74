"""What the metrics share: leads in mV."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from rddm.plugin import ShapeError
from rddm_ecg.units import to_mv


def mean_over_leads(
    output: Tensor, target: Tensor, limits: tuple[float, float], figure: Callable[[Tensor, Tensor], Tensor]
) -> float:
    """The mean over leads of a figure of both signals (C, *S), given as (C, L) in mV, float64; it gives (C,).

    Raises:
        ShapeError: the two differ in shape.
    """
    if output.shape != target.shape:
        raise ShapeError(f"output and target must have one shape; given {tuple(output.shape)}, {tuple(target.shape)}")
    one, other = (to_mv(signal.double().flatten(1), limits) for signal in (output, target))
    return float(figure(one, other).mean())
