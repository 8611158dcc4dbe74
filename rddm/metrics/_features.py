"""What a network sees in images: the features that distances of sets are measured in."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from rddm.core.errors import DataError, SpecError
from rddm.metrics._weights import colours, device, located, needed, read

INCEPTION, FILE = "inception", "weights-inception-2015-12-05-6726825d.pth"


def features(metric: str, network: str, file: Path | None, layer: str, image: Tensor) -> Tensor:
    """The features (D,) of an image (1 or 3, H, W) in [0, 1], rounded to 8 bits, on the CPU.

    "inception" is the Inception of FID, TensorFlow's of 2015 as torch-fidelity has it, its way of resizing included;
    `layer` is one of its names. Any other network is timm's, at its own size, before its classifier.
    """
    with torch.inference_mode():
        seen: Tensor = loaded(metric, network, file, layer)(colours(metric, image).to(device()))[0]
    return seen.flatten().float().cpu()


def loaded(metric: str, network: str, file: Path | None, layer: str) -> Any:
    """The network, from images (N, 3, H, W), uint8.

    Raises:
        SpecError: timm has no such network.
        DataError: its weights are not there, or of another network.
        RddmError: torch-fidelity is not installed.
    """
    if network == INCEPTION:
        return _inception(metric, layer, located(metric, file, FILE, "of torch-fidelity"))
    if not timm.is_model(network):
        problem = f"must be {INCEPTION}, or a name that timm.list_models() gives; given {network!r}"
        raise SpecError(metric, [(("network",), problem)])
    return _Timm.of(network, located(metric, file, f"{network}.pth", "in timm's format"))


class _Timm(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: nn.Module = network
        self.seen = timm.data.resolve_data_config({}, model=network)

    @classmethod
    @lru_cache(maxsize=2)
    def of(cls, name: str, path: Path) -> _Timm:
        network: Any = timm.create_model(name, pretrained=False)
        try:
            timm.models.load_checkpoint(network, str(path), weights_only=True)
        except Exception as cause:  # damaged files and other networks' raise many kinds
            raise DataError(f"{path} holds no weights of timm's {name}: {str(cause)[:200]}") from cause
        network.reset_classifier(0)
        return cls(network).eval().to(device())

    def forward(self, images: Tensor) -> tuple[Tensor]:
        size, (mean, std) = self.seen["input_size"][1:], (self._constant(key) for key in ("mean", "std"))
        resized = interpolate(images / 255, size, mode="bicubic", antialias=True)
        return (self.network((resized - mean.to(resized)) / std.to(resized)),)

    def _constant(self, key: str) -> Tensor:
        return torch.tensor(self.seen[key])[:, None, None]


@lru_cache(maxsize=2)
def _inception(metric: str, layer: str, path: Path) -> nn.Module:
    module = needed(metric, "torch_fidelity.feature_extractor_inceptionv3")
    read(path)  # torch-fidelity would run code from the file, so that it must hold tensors alone
    try:
        network: nn.Module = module.FeatureExtractorInceptionV3("inception-v3-compat", [layer], str(path))
    except Exception as cause:  # of load_state_dict
        raise DataError(f"{path} holds other weights than {FILE} of torch-fidelity; give that file") from cause
    return network.to(device())


def identity(size: int) -> nn.Module:
    """A network of torchmetrics' kind that gives back the features it gets."""
    network = nn.Identity()
    network.num_features = size  # type: ignore[assignment]
    return network
