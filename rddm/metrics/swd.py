"""Sliced Wasserstein distance of two sets of images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from rddm.core.errors import ShapeError
from rddm.core.kinds import SetMetric


class SWD(SetMetric):
    """The sliced Wasserstein distance in pixel space: 0 for equal sets, in units of pixel values.

    Both sets are projected on fixed random directions of length 1, and on each the sorted values compared. Sensible for
    small images, where pixels mean something; needs no weights, and equally many images of one size.

    Raises:
        ShapeError: the sets differ in number or shape.

    Source: Rabin et al. 2011, "Wasserstein barycenter and its application to texture mixing".
    """

    name: Literal["swd"] = "swd"
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    directions: int = Field(default=512, ge=1, description="random directions; more are more exact")

    @property
    def keys(self) -> tuple[str, ...]:
        return ("swd",)

    def compare(self, outputs: Iterable[Tensor], targets: Iterable[Tensor]) -> dict[str, float]:
        one, other = list(outputs), list(targets)
        shapes = {tuple(image.shape) for image in (*one, *other)}
        if len(one) != len(other) or len(shapes) != 1:
            given = f"{len(one)} and {len(other)} images of the sizes {sorted(shapes)[:3]}"
            raise ShapeError(f"swd compares sets of equally many images of one size; given {given}")
        sets = [torch.stack(images).flatten(1).double().cpu() for images in (one, other)]
        axes = torch.randn(sets[0].shape[1], self.directions, generator=Generator().manual_seed(0), dtype=torch.float64)
        axes /= torch.linalg.vector_norm(axes, dim=0)
        first, second = ((x @ axes).sort(dim=0).values for x in sets)
        return {"swd": (first - second).abs().mean().item()}
