"""Networks that metrics look through, from files that are there already."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rddm.core.errors import DataError, RddmError, ShapeError
from rddm.core.images import to_array


def located(metric: str, given: Path | None, file: str, origin: str) -> Path:
    """The file of a network's weights: as given, or of its usual name where torch keeps what it has downloaded.

    Raises:
        DataError: there is none, with its name and place.
    """
    usual = Path(torch.hub.get_dir()) / "checkpoints" / file
    path = usual if given is None else Path(os.path.expanduser(given))
    if not path.is_file():
        ways = f"put {file} ({origin}) there, or say where it is by {{name: {metric}, file: FILE}}"
        raise DataError(f"{metric} looks through a network, and {path} is not there; nothing is downloaded: {ways}")
    return path


def read(path: Path) -> dict[str, Tensor]:
    """The tensors in a file of weights, without running code from it. Raises DataError."""
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as cause:  # damaged zip files and pickles raise many kinds
        raise DataError(f"{path} holds no weights that can be read ({type(cause).__name__}); give another") from cause
    return state


def needed(metric: str, module: str) -> Any:
    """A module of an optional package. Raises RddmError with what to install."""
    try:
        return import_module(module)
    except ImportError as cause:
        package = module.partition(".")[0].replace("_", "-")
        raise RddmError(f"{metric} needs {package}; pip install 'residual-diffusion[metrics]'") from cause


def colours(metric: str, image: Tensor) -> Tensor:
    """An image (1 or 3, H, W) in [0, 1] as RGB (1, 3, H, W), uint8. Raises ShapeError for others."""
    if image.ndim != 3 or len(image) not in (1, 3):
        raise ShapeError(f"{metric} is of grey and RGB images, (1 or 3, H, W); given {tuple(image.shape)}")
    return torch.from_numpy(to_array(image)).movedim(-1, 0).expand(3, -1, -1)[None]


def device() -> torch.device:
    """Where such a network runs: the machine's accelerator, else the CPU."""
    there = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return there or torch.device("cpu")
