"""Several metrics as one: the figures of an output, those of a set, and their means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from rddm.core.kinds import ImageMetric, Metric, SetMetric


def measure(
    metrics: Sequence[Metric], output: Tensor, target: Tensor | None, extras: Mapping[str, Tensor] | None = None
) -> dict[str, float]:
    """The figures of one output (C, *S) in [0, 1] by all metrics of single images, in order; set metrics are left out.

    Without a target, those that need none.

    Raises:
        ShapeError: output and target differ in shape.
    """
    found: dict[str, float] = {}
    output = output.cpu()
    for metric in metrics:
        if isinstance(metric, ImageMetric) and not (target is None and metric.reference):
            found |= metric.measure(output, output if target is None else target.cpu(), extras or {})
    return found


def compare(metrics: Sequence[Metric], outputs: Iterable[Tensor], targets: Iterable[Tensor]) -> dict[str, float]:
    """The figures of a set of outputs beside a set of images, by all set metrics; both sets (N, C, *S) in [0, 1]."""
    found: dict[str, float] = {}
    for metric in metrics:
        if isinstance(metric, SetMetric):
            found |= metric.compare(outputs, targets)
    return found


def worth(metric: Metric, scores: Mapping[str, float]) -> float:
    """A metric's main figure as a number that is the larger the better, -inf where it has no value."""
    value = scores.get(metric.keys[0], math.nan)
    return -math.inf if math.isnan(value) else value if metric.better == "higher" else -value
