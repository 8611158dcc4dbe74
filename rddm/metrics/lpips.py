"""Learned perceptual image patch similarity."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from rddm.core.errors import DataError
from rddm.core.kinds import ImageMetric
from rddm.metrics._pixels import pair
from rddm.metrics._weights import colours, device, located, needed, read

FILES = {
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
}
SMALLEST = {"alex": 31, "vgg": 16, "squeeze": 17}  # sides that the networks take


class LPIPS(ImageMetric):
    """A weighted distance of the features of two images in a network trained on ImageNet: 0 for equal images.

    By torchmetrics, which holds the learnt weights of features; those of the network are a file of torchvision's,
    given or in torch's folder of downloads, and nothing is downloaded. Version 0.1; "lpips" is AlexNet's, as most
    papers give it, others are "lpips_vgg" and "lpips_squeeze". Images are rounded to 8 bits, grey ones repeated; NaN
    for those too small for the network, none of signals and volumes. Source: arXiv 1801.03924.

    Raises:
        DataError: the weights are not there, or of another network.
        RddmError: torchmetrics is not installed.
    """

    name: Literal["lpips"] = "lpips"
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    net: Literal["alex", "vgg", "squeeze"] = "alex"
    file: Path | None = Field(
        default=None, description="the network's weights; by default of their usual name in $TORCH_HOME"
    )

    @property
    def keys(self) -> tuple[str, ...]:
        return ("lpips" if self.net == "alex" else f"lpips_{self.net}",)

    def prepare(self) -> None:
        self._network()

    def measure(self, output: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> dict[str, float]:
        if pair(output, target) is None:
            return {}
        if min(output.shape[1:]) < SMALLEST[self.net]:
            return {self.keys[0]: math.nan}
        network = self._network()
        with torch.inference_mode():
            one, other = (colours("lpips", image).to(device()) / 255 for image in (output, target))
            return {self.keys[0]: float(network(one, other, normalize=True))}

    def _network(self) -> Any:
        return _network(self.net, located("lpips", self.file, FILES[self.net], "of torchvision"))


@lru_cache(maxsize=3)
def _network(net: str, path: Path) -> Any:
    network = needed("lpips", "torchmetrics.functional.image.lpips")._NoTrainLpips(net=net, pnet_rand=True)
    state = read(path)
    try:  # "slice2.3.weight" and "slices.1.3.weight" there are "features.3.weight" in torchvision
        network.net.load_state_dict(
            {key: state[re.sub(r"^slice(s\.)?\d+", "features", key)] for key in network.net.state_dict()}
        )
    except (KeyError, RuntimeError, TypeError) as cause:
        raise DataError(f"{path} holds other weights than {FILES[net]} of torchvision; give that file") from cause
    return network.to(device())
