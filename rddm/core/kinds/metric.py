"""How good images are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from rddm.core.component import Component
from rddm.core.named import resolve

if TYPE_CHECKING:
    from torch import Tensor


class Metric(Component):
    """A measure of quality: an `ImageMetric` of every output, or a `SetMetric` of all outputs together."""

    kind: ClassVar[str] = "metric"

    better: ClassVar[Literal["higher", "lower"]] = "higher"

    @property
    @abstractmethod
    def keys(self) -> tuple[str, ...]:
        """Names of the figures it gives, the main one first, such as ("psnr_y",)."""


class ImageMetric(Metric):
    """A measure of one output, mostly beside its target."""

    reference: ClassVar[bool] = True  # whether it looks at the target

    @abstractmethod
    def measure(self, output: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> Mapping[str, float]:
        """The figures of one output, by key; empty where it has no meaning, NaN where it has no value.

        output and target are (C, *S) in [0, 1], on the CPU; extras, such as a mask, are (K, *S) by role, where there
        are any. Without `reference` the target is the output itself.
        """

    def weights(self, output: Tensor, extras: Mapping[str, Tensor]) -> Mapping[str, float]:
        """How much this output counts in the mean of a figure, by key; 1 if not named."""
        return {}


class SetMetric(Metric):
    """A measure of a set of outputs beside a set of images, which need not be pairs nor equally many."""

    @abstractmethod
    def compare(self, outputs: Iterable[Tensor], targets: Iterable[Tensor]) -> Mapping[str, float]:
        """The figures of the set, by key; images are (C, *S) in [0, 1], and each set is gone through once."""


def usual_metrics() -> tuple[Metric, ...]:
    """What restored images are measured by unless others are asked for: PSNR and SSIM, of RGB and of luma."""
    return tuple(resolve(Metric, {"name": name, "space": space}) for space in ("rgb", "y") for name in ("psnr", "ssim"))
