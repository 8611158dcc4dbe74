"""The area under the ROC curve, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rddm.plugin import Array

RESAMPLES = 2000


def wins(scores: Array, positives: Array) -> Array:
    """(P, N): how often positive i has a higher score than negative j, a tie being half, over the draws of both.

    scores is (draws, images), positives (images,) of bool. The mean of it all is the mean area under the ROC curve.
    """
    high, low = scores[:, positives, None], scores[:, None, ~positives]
    found: Array = ((high > low) + 0.5 * (high == low)).mean(0)
    return found


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % confidence interval."""

    value: float
    low: float
    high: float


def estimate(found: Array) -> Estimate:
    """The mean of what `wins` gives, or of a difference of two; the interval by bootstrap over images of either kind.

    The percentiles 2.5 and 97.5 of the means of positives and negatives drawn anew, with replacement, always the same:
    it is about the test images, not about another training.
    """
    rng = np.random.default_rng(0)
    rows, columns = (rng.integers(0, side, (RESAMPLES, side)) for side in found.shape)
    means = [found[np.ix_(one, other)].mean() for one, other in zip(rows, columns, strict=True)]
    low, high = np.percentile(means, (2.5, 97.5))
    return Estimate(float(found.mean()), float(low), float(high))
