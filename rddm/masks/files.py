"""Masks drawn by others."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Generator, Tensor
from torch.nn.functional import interpolate

from rddm.core import images
from rddm.core.errors import DataError
from rddm.core.kinds import Mask


class Files(Mask):
    """One of the image files below `path`, drawn anew for every image; white is the hole, black is known.

    What is lighter than mid grey counts as white. A file of another size is stretched to the image's, without
    smoothing. The folder is looked through once, so the files should stay.

    Raises:
        DataError: there is no such folder, or no image in it; the file that was drawn cannot be read, or has no hole.
    """

    name: Literal["files"] = "files"
    path: Path = Field(description="the folder; a relative path starts at the working directory, ~ at home")

    def __call__(self, height: int, width: int, generator: Generator) -> Tensor:
        found = _found(Path(os.path.expanduser(self.path)).absolute())
        file = found[int(torch.randint(len(found), (), generator=generator))]
        mask = images.to_tensor(images.as_channels(images.read(file), 1))[None]
        hole = (interpolate(mask, (height, width), mode="nearest-exact")[0] > 0.5).float()
        if not hole.any():
            raise DataError(f"{file} has no hole at {height}x{width}: white must be what is to be filled; invert it")
        return hole


@lru_cache(maxsize=16)
def _found(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder of masks; give one that holds images, white where the hole is")
    return images.find(folder)
