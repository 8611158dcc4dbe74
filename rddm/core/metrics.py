"""Several metrics as one: the figures of an output, those of a set, and their means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import bootstrap
from torch import Tensor

from rddm.core import registry
from rddm.core.blame import line_of_class
from rddm.core.errors import DataError, SpecError
from rddm.core.kinds import ImageMetric, Metric, SetMetric, check_metrics
from rddm.core.named import resolve

RESAMPLES = 2000  # of the images, for a confidence interval
INPUT = "input_"  # before the figures of the untouched input

One = Metric | str | Mapping[str, Any]  # an instance, a name or a table
Choice = One | Sequence[One]


@dataclass(frozen=True)
class Seen:
    """What metrics say of an image and keep of it."""

    scores: Mapping[str, float] = field(default_factory=dict)  # of the output; and of the input, after "input_"
    weights: Mapping[str, float] = field(default_factory=dict)  # in the mean of a figure, 1 if not named
    features: Mapping[str, tuple[Tensor, ...]] = field(default_factory=dict)  # by role, one for each set metric


def chosen(choice: Choice, *, targets: bool = True) -> tuple[Metric, ...]:
    """The metrics of a choice, for outputs with targets of their own or without.

    Raises:
        SpecError: none, an unknown one, two that give the same figure, or one that lacks its targets.
    """
    given = [choice] if isinstance(choice, Metric | str | Mapping) else choice
    found = tuple(resolve(Metric, one) for one in given)
    if not found:
        raise SpecError("metrics", [((), f"name at least one of: {', '.join(registry.names('metric'))}")])
    check_metrics(found, targets=targets)
    return found


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
    for metric in _single(metrics, target):
        beside = output if target is None or not metric.reference else target.cpu()
        found |= _figures(metric, metric.measure(output, beside, extras or {}))
    return found


def compare(metrics: Sequence[Metric], outputs: Iterable[Tensor], targets: Iterable[Tensor]) -> dict[str, float]:
    """The figures of a set of outputs beside a set of images, by all set metrics; both sets (N, C, *S) in [0, 1]."""
    seen = [look(metrics, image) for image in outputs] + [look(metrics, target=image) for image in targets]
    return _compared(metrics, seen)


def look(
    metrics: Sequence[Metric],
    output: Tensor | None = None,
    target: Tensor | None = None,
    *,
    source: Tensor | None = None,
    extras: Mapping[str, Tensor] | None = None,
) -> Seen:
    """All metrics' look at one output (C, *S) in [0, 1], and at its target and its untouched input, as far as known.

    Raises:
        ShapeError: they differ in shape.
    """
    scores: dict[str, float] = {}
    weights: dict[str, float] = {}
    if output is not None:
        scores |= measure(metrics, output, target, extras)
        for metric in _single(metrics, target):
            weights |= metric.weights(output, extras or {})
    if source is not None:
        scores |= {INPUT + key: value for key, value in measure(metrics, source, target, extras).items()}
        weights |= {INPUT + key: value for key, value in weights.items()}
    of_sets = [metric for metric in metrics if isinstance(metric, SetMetric)]
    images = {"output": output, "target": target, "input": source}
    features = {
        role: tuple(metric.features(image.cpu()) for metric in of_sets)
        for role, image in images.items()
        if image is not None and of_sets
    }
    return Seen(scores, weights, features)


def summary(metrics: Sequence[Metric], seen: Mapping[str, Seen], others: Iterable[Seen] = ()) -> dict[str, Any]:
    """The mean of each figure over images, the figures of the set, and what they rest on.

    `{"psnr": mean, .., "fid": .., "images": how many, "ci": {"psnr": (low, high), ..}, "per_image": {name: scores}}`;
    "ci", if there are any, is the 95 % confidence interval of the mean, the 2.5th and 97.5th percentile of the means of
    images drawn anew, with replacement and always the same; figures of fewer than two images, or infinite ones, have
    none. Images that have no value (NaN) of a figure are left out of its mean, and "undefined", if there are any,
    tells how many.

    Args:
        others: looks at targets that belong to no output, for set metrics.

    Raises:
        DataError: there is no image.
    """
    if not seen:
        raise DataError("no evaluation image could be read")
    keys = dict.fromkeys(key for one in seen.values() for key in one.scores)
    means, intervals, undefined = {}, {}, {}
    for key in keys:
        values = np.array([one.scores.get(key, math.nan) for one in seen.values()])
        weights = np.array([one.weights.get(key, 1.0) for one in seen.values()])
        there = ~np.isnan(values) & (weights > 0)
        means[key] = _mean(values[there], weights[there]).item() if there.any() else math.nan
        if there.sum() > 1 and np.isfinite(values[there]).all():
            intervals[key] = _interval(values[there], weights[there])
        if not there.all():
            undefined[key] = int((~there).sum())
    return {
        **means,
        **_compared(metrics, [*seen.values(), *others]),
        "images": len(seen),
        **({"ci": intervals} if intervals else {}),
        **({"undefined": undefined} if undefined else {}),
        "per_image": {name: dict(one.scores) for name, one in seen.items() if one.scores},
    }


def figures(scores: Mapping[str, Any]) -> dict[str, float]:
    """The means and the figures of the set alone, of what `summary` gives."""
    return {key: value for key, value in scores.items() if isinstance(value, float)}


def worth(metric: Metric, scores: Mapping[str, float]) -> float:
    """A metric's main figure as a number that is the larger the better, -inf where it has no value."""
    value = scores.get(metric.keys[0], math.nan)
    return -math.inf if math.isnan(value) else value if metric.better == "higher" else -value


def _figures(metric: Metric, given: Any) -> Mapping[str, float]:
    try:
        if given.keys() <= set(metric.keys):
            return {key: float(value) for key, value in given.items()}
    except (AttributeError, TypeError, ValueError, RuntimeError):
        pass
    problem = f"{metric.name!r} must give a dict of numbers, by some of the keys {', '.join(metric.keys)}"
    raise SpecError("metrics", [((), f"{problem}; gave {given!r:.200}, in {line_of_class(type(metric))}")])


def _single(metrics: Sequence[Metric], target: Tensor | None) -> list[ImageMetric]:
    return [one for one in metrics if isinstance(one, ImageMetric) and not (target is None and one.reference)]


def _compared(metrics: Sequence[Metric], seen: Sequence[Seen]) -> dict[str, float]:
    found: dict[str, float] = {}
    for place, metric in enumerate(metric for metric in metrics if isinstance(metric, SetMetric)):
        sets = {
            role: [one.features[role][place] for one in seen if role in one.features]
            for role in ("output", "target", "input")
        }
        for role, before in (("output", ""), ("input", INPUT)):
            if sets[role] and (sets["target"] or not metric.reference):
                targets = sets["target"] if metric.reference else sets[role]
                figures = _figures(metric, metric.compare(sets[role], targets))
                found |= {before + key: value for key, value in figures.items()}
    return found


def _mean(values: np.ndarray[Any, Any], weights: np.ndarray[Any, Any], axis: int = -1) -> Any:
    return (values * weights).sum(axis) / weights.sum(axis)


def _interval(values: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]) -> tuple[float, float]:
    found = bootstrap(
        (values, weights),
        _mean,
        n_resamples=RESAMPLES,
        batch=max(1, 2**22 // len(values)),
        vectorized=True,
        paired=True,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)
