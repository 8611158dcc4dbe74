"""What a metric promises."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from rddm.core.kinds import ImageMetric, Metric, SetMetric
from rddm.core.kinds.metric import RESERVED
from rddm.core.metrics import worth
from rddm.testing._property import holds, own_randomness, require, seeded, without_global_randomness

NOISES = (0.02, 0.1, 0.3)


def picture(seed: int, size: Sequence[int], channels: int) -> Tensor:
    """A smooth image (C, *S) in [0, 1] with some texture."""
    axes = torch.meshgrid(*(torch.linspace(0, 1, side) for side in size), indexing="ij")
    phases = torch.rand(channels, len(size) + 1, generator=seeded(seed))
    waves = [
        sum(torch.sin((3 + 9 * p) * axis + 6 * phase[-1]) for p, axis in zip(phase, axes, strict=False))
        for phase in phases
    ]
    smooth = torch.stack([wave if isinstance(wave, Tensor) else torch.zeros(*size) for wave in waves]) / len(size)
    texture = 0.1 * torch.randn(channels, *size, generator=seeded(seed + 1))
    return (0.5 + 0.35 * smooth + texture).clamp(0.05, 0.95)


def noisy(clean: Tensor, level: float, seed: int = 9) -> Tensor:
    """The image with white noise of that standard deviation, in [0, 1]."""
    return (clean + level * torch.randn(clean.shape, generator=seeded(seed))).clamp(0, 1)


def _images(size: Sequence[int], channels: int, count: int) -> list[Tensor]:
    return [picture(10 * n, size, channels) for n in range(count)]


def _figures(
    metric: Metric, outputs: Sequence[Tensor], targets: Sequence[Tensor], extras: Mapping[str, Tensor]
) -> Mapping[str, float]:
    """Of a set, or of the first output."""
    if isinstance(metric, SetMetric):
        beside = targets if metric.reference else outputs
        return metric.compare(*(iter([metric.features(image) for image in images]) for images in (outputs, beside)))
    assert isinstance(metric, ImageMetric)
    return metric.measure(outputs[0], targets[0] if metric.reference else outputs[0], extras)


@holds(
    "metric",
    "Give keys as a tuple of texts, the main figure first; name the space or the region in the key, and say which way"
    " is better.",
)
def keys_name_the_figures(metric: Metric) -> None:
    """It is an ImageMetric or a SetMetric, keys are different texts, none taken, and better is "higher" or "lower"."""
    one = isinstance(metric, ImageMetric) != isinstance(metric, SetMetric)
    require(one, f"it derives from {[base.__name__ for base in type(metric).__mro__[1:3]]}")
    good = isinstance(metric.keys, tuple) and all(isinstance(key, str) and key for key in metric.keys)
    require(good and len(set(metric.keys)) == len(metric.keys) > 0, f"keys is {metric.keys!r}")
    taken = [key for key in metric.keys if key in RESERVED or key.startswith("input_")]
    require(
        not taken, f"{taken} are no names for figures: an evaluation has {', '.join(RESERVED)} and input_... itself"
    )
    require(metric.better in ("higher", "lower"), f"better is {metric.better!r}")


@holds(
    "metric",
    "Return {key: float(...)} for keys of `keys`: finite for images that differ, no key where it has no meaning.",
)
def figures_are_finite_floats_by_key(
    metric: Metric,
    *,
    size: Sequence[int] = (48, 40),
    channels: int = 3,
    count: int = 6,
    extras: Mapping[str, Tensor] | None = None,
) -> None:
    """For images that differ, figures are finite floats under the keys, the main one among them."""
    clean = _images(size, channels, count)
    found = _figures(metric, [noisy(image, 0.1) for image in clean], clean, extras or {})
    require(set(found) <= set(metric.keys), f"it gives {sorted(found)}, and keys is {metric.keys}")
    require(
        metric.keys[0] in found, f"it gives no {metric.keys[0]!r}; tell check the size, channels or extras it needs"
    )
    for key, value in found.items():
        require(type(value) is float and math.isfinite(value), f"{key} is {value!r}")


@holds(
    "metric",
    'Set better to "higher" or "lower": the main figure is best for equal images.',
)
def more_noise_is_worse(
    metric: Metric,
    *,
    size: Sequence[int] = (48, 40),
    channels: int = 3,
    count: int = 6,
    extras: Mapping[str, Tensor] | None = None,
) -> None:
    """The main figure never improves from outputs that are the targets to noise of 0.02, 0.1 and 0.3, and ends worse.

    So a figure that counts what is beyond a threshold may begin with equal ones. A metric without `reference` is free
    to say otherwise.
    """
    if not metric.reference:
        return
    clean = _images(size, channels, count)
    series = [clean, *([noisy(image, level, seed) for seed, image in enumerate(clean)] for level in NOISES)]
    found = [_figures(metric, outputs, clean, extras or {}) for outputs in series]
    worths = [worth(metric, figures) for figures in found]
    values = [figures.get(metric.keys[0]) for figures in found]
    falls = all(a >= b for a, b in pairwise(worths)) and worths[0] > worths[-1]
    require(falls, f"{metric.keys[0]} is {values} for noise of 0, {NOISES}, and better is {metric.better!r}")


@holds("metric", "Copy before you change, and draw from a generator with a seed of its own, if at all.")
def measuring_changes_nothing(
    metric: Metric,
    *,
    size: Sequence[int] = (48, 40),
    channels: int = 3,
    count: int = 6,
    extras: Mapping[str, Tensor] | None = None,
) -> None:
    """The same images give the same figures, whatever the global random states; these, images and extras stay."""
    clean = _images(size, channels, count)
    bad = [noisy(image, 0.1) for image in clean]
    beside = {role: extra.clone() for role, extra in (extras or {}).items()}
    shown = (*clean, *bad, *beside.values())
    before, found = [image.clone() for image in shown], []
    for seed in (0, 1):
        with own_randomness(seed), without_global_randomness("it"):
            found.append(_figures(metric, bad, clean, beside))
            if isinstance(metric, ImageMetric):
                metric.weights(bad[0], beside)
    require(found[0] == found[1], f"once it gives {found[0]}, once {found[1]}")
    require(all(map(torch.equal, before, shown)), "images, or extras, are changed in place")


@holds("metric", "Compare the sets as sets: nothing may depend on which output comes first.")
def a_set_has_no_order(metric: Metric, *, size: Sequence[int] = (48, 40), channels: int = 3, count: int = 6) -> None:
    """A SetMetric gives the same for the same outputs in another order, up to rounding."""
    if not isinstance(metric, SetMetric):
        return
    clean = _images(size, channels, count)
    bad = [noisy(image, 0.1, seed) for seed, image in enumerate(clean)]
    one, other = (_figures(metric, outputs, clean, {}) for outputs in (bad, bad[::-1]))
    for key, value in one.items():
        require(
            math.isclose(value, other[key], rel_tol=1e-4, abs_tol=1e-6), f"{key} is {value}, and reversed {other[key]}"
        )


@holds("metric", "weights gives numbers of at least 0 by key, such as how many pixels a region has.")
def weights_are_shares_by_key(
    metric: Metric,
    *,
    size: Sequence[int] = (48, 40),
    channels: int = 3,
    extras: Mapping[str, Tensor] | None = None,
) -> None:
    """weights of an ImageMetric are finite, at least 0, and under its keys."""
    if not isinstance(metric, ImageMetric):
        return
    found = metric.weights(picture(0, size, channels), extras or {})
    good = set(found) <= set(metric.keys) and all(math.isfinite(value) and value >= 0 for value in found.values())
    require(good, f"it gives {dict(found)}, and keys is {metric.keys}")
