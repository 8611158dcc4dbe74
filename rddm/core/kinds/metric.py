"""How good images are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from rddm.core.blame import line_of_class
from rddm.core.component import Component
from rddm.core.errors import SpecError
from rddm.core.named import resolve

if TYPE_CHECKING:
    from torch import Tensor


class Metric(Component):
    """A measure of quality: an `ImageMetric` of every output, or a `SetMetric` of all outputs together."""

    kind: ClassVar[str] = "metric"

    reference: ClassVar[bool] = True  # whether it looks at the target, or at images of the target's kind
    better: ClassVar[Literal["higher", "lower"]] = "higher"

    @property
    @abstractmethod
    def keys(self) -> tuple[str, ...]:
        """Names of the figures it gives, the main one first, such as ("psnr_y",)."""

    def prepare(self) -> None:
        """Raises an RddmError where a file or a package that it needs is missing; asked before anything takes long."""


class ImageMetric(Metric):
    """A measure of one output, mostly beside its target."""

    @abstractmethod
    def measure(self, output: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> Mapping[str, float]:
        """The figures of one output, by key; empty where it has no meaning, NaN where it has no value.

        output and target are (C, *S) in [0, 1], on the CPU; extras, such as a mask, are (K, *S) by role, where there
        are any. Without `reference` the target is the output itself.
        """

    def weights(self, output: Tensor, extras: Mapping[str, Tensor]) -> Mapping[str, float]:
        """How much this output counts in the mean of a figure, by key, such as its pixels; 1 if not named."""
        return {}


class SetMetric(Metric):
    """A measure of a set of outputs beside a set of images, which need not be pairs nor equally many."""

    def features(self, image: Tensor) -> Tensor:
        """What is kept of an image (C, *S) in [0, 1] until all are compared: the image itself, unless it needs less."""
        return image

    @abstractmethod
    def compare(self, outputs: Iterable[Tensor], targets: Iterable[Tensor]) -> Mapping[str, float]:
        """The figures of the set, by key, from the `features` of each image; each set is gone through once.

        Without `reference` the targets are the outputs themselves.
        """


#: Keys of an evaluation that are no figures; nor may a key begin with "input_", as those of the untouched input do.
RESERVED = ("images", "ci", "undefined", "per_image", "missing", "errors", "step", "path_dependence")


def check_metrics(metrics: Sequence[Metric], *, targets: bool) -> None:
    """Refuse metrics that give a figure twice or under a key that is taken, and those of targets where none is known.

    Raises:
        SpecError: naming the metrics.
    """
    keys: dict[str, Metric] = {}
    for metric in metrics:
        if metric.better not in ("higher", "lower"):
            problem = f'{metric.name!r} must declare better = "higher" or "lower"; it is {metric.better!r}'
            raise SpecError("metrics", [((), f"{problem}, in {line_of_class(type(metric))}")])
        for key in metric.keys:
            if key in RESERVED or key.startswith("input_"):
                raise SpecError("metrics", [((), f"{metric.name!r} gives {key!r}, which is no figure's; rename it")])
            if key in keys:
                both = f"{keys[key].name!r} and {metric.name!r} both give {key!r}"
                raise SpecError("metrics", [((), f"{both}; take one of them")])
            keys[key] = metric
    lost = [metric.name for metric in metrics if isinstance(metric, ImageMetric) and metric.reference]
    if lost and not targets:
        problem = f"{', '.join(lost)} compare an output with its target, and here no output has one"
        raise SpecError("metrics", [((), f"{problem}; take metrics of sets, such as swd or fid")])


def usual_metrics() -> tuple[Metric, ...]:
    """What restored images are measured by unless others are asked for: PSNR and SSIM, of RGB and of luma."""
    return tuple(resolve(Metric, {"name": name, "space": space}) for space in ("rgb", "y") for name in ("psnr", "ssim"))
