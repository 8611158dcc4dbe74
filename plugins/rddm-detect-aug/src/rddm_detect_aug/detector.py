"""The detector that images are restored and drawn for: HOG features and logistic regression."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from skimage.feature import hog
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from torch import Tensor

from rddm.plugin import Array, DataError, ShapeError

CELLS = 5  # a side, so that images must have 5 pixels at the least; blocks are of 2 x 2 cells


@dataclass(frozen=True, eq=False)
class Detector:
    """log-odds = w . hog(x) + b for an image x of the size that it was trained on; colours are averaged.

    Source: Dalal, Triggs, "Histograms of oriented gradients for human detection", CVPR 2005, with logistic regression
    in place of their support vectors, for probabilities.
    """

    size: tuple[int, int]  # (H, W)
    positive: str  # the label that it is a detector of
    weights: Array  # (512,)
    bias: float

    def score(self, image: Tensor) -> float:
        """The log-odds that an image (C, H, W) in [0, 1] is positive. Raises ShapeError for another size."""
        if tuple(image.shape[1:]) != self.size:
            raise ShapeError(f"this detector is of images (C, {self.size[0]}, {self.size[1]}); given {image.shape}")
        return float(self.weights @ features(image) + self.bias)

    def scores(self, images: Iterable[Tensor]) -> Array:
        """The log-odds of each of some images."""
        return np.array([self.score(image) for image in images])

    def write(self, path: Path) -> None:
        """The detector as a file, for `read`; a file of that name is replaced."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:  # by a name, numpy would add a suffix
            np.savez(file, size=self.size, positive=self.positive, weights=self.weights, bias=self.bias)


def features(image: Tensor) -> Array:
    """Histograms of gradients (512,) of an image (C, H, W) in [0, 1]: 8 directions in 5 x 5 cells, 4 x 4 blocks."""
    height, width = image.shape[1:]
    if min(height, width) < CELLS:
        raise ShapeError(f"an image must have {CELLS} x {CELLS} pixels at the least; given {tuple(image.shape)}")
    cell = (height // CELLS, width // CELLS)
    grey = image.double().mean(0).numpy()[: CELLS * cell[0], : CELLS * cell[1]]
    found: Array = hog(grey, orientations=8, pixels_per_cell=cell, cells_per_block=(2, 2))
    return found


def trained(images: Iterable[Tensor], positives: Iterable[bool], label: str) -> Detector:
    """A detector of the positives among images (C, H, W) in [0, 1] of one size, both kinds of equal weight in all.

    Raises:
        ShapeError: sizes differ.
        DataError: all images are positive, or none is.
    """
    seen, wanted = list(images), np.array(list(positives))
    if len(np.unique(wanted)) < 2:
        raise DataError(f"a detector of {label!r} needs images with and without; given {len(seen)} of one kind")
    sizes = sorted({(image.shape[1], image.shape[2]) for image in seen})
    if len(sizes) > 1:
        raise ShapeError(f"images for a detector must have one size; given {sizes}")
    model: Any = LogisticRegression(class_weight="balanced", max_iter=2000)
    model.fit(np.stack([features(image) for image in seen]), wanted)
    return Detector(sizes[0], label, model.coef_[0], float(model.intercept_[0]))


def read(path: Path) -> Detector:
    """A detector that was written. Raises DataError where there is none."""
    try:
        with path.open("rb") as file:
            found = dict(np.load(file, allow_pickle=False))
        height, width = (int(side) for side in found["size"])
        return Detector((height, width), str(found["positive"]), found["weights"], float(found["bias"]))
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile) as cause:
        way = "train one by: rddm-detect-aug train-detector RECIPE --out FILE"
        raise DataError(f"{path} holds no detector ({type(cause).__name__}); {way}") from cause
