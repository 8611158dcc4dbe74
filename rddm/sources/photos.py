"""The photographs that come with scikit-image."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from rddm.core.errors import suggest
from rddm.core.kinds import Source
from rddm.sources._files import ImageFiles

_FILES = {  # as in skimage.data: the function, and its file in the package
    **{name: f"{name}.png" for name in ("astronaut", "brick", "camera", "cell", "chelsea", "coffee", "coins")},
    **{name: f"{name}.png" for name in ("grass", "gravel", "moon", "page", "text")},
    **{name: f"{name}.jpg" for name in ("hubble_deep_field", "retina", "rocket")},
    "clock": "clock_motion.png",
    "colorwheel": "color.png",
    "immunohistochemistry": "ihc.png",
    "motorcycle": "motorcycle_left.png",
}
_SPLITS = {
    "train": (
        *("brick", "camera", "coins", "grass", "gravel"),
        *("coffee", "hubble_deep_field", "immunohistochemistry", "motorcycle", "retina", "rocket"),
    ),
    "test": ("astronaut", "chelsea"),
}


class Photos(Source):
    """Photographs from scikit-image's wheel, RGB or grey, as targets; nothing is ever fetched.

    "train": brick, camera, coins, grass, gravel (grey), coffee, hubble_deep_field, immunohistochemistry, motorcycle,
    retina, rocket (RGB). "test": astronaut, chelsea (RGB). By name only, as nearly empty, text or drawn: cell, clock,
    moon, page, text (grey), colorwheel (RGB). Names are those of `skimage.data`; motorcycle is the left one of the
    stereo pair. Licences are told there, mostly CC0.
    """

    name: Literal["photos"] = "photos"
    images: tuple[str, ...] | Literal["train", "test"] = Field(default="train", description="a split, or names")

    @field_validator("images", mode="before")
    @classmethod
    def _known(cls, images: object) -> object:
        names = [images] if isinstance(images, str) and images not in _SPLITS else images
        for name in names if isinstance(names, list | tuple) else ():
            if name not in _FILES:
                raise ValueError(f"unknown photograph {name!r}{suggest(str(name), [*_FILES, *_SPLITS])}")
        if isinstance(names, list | tuple) and not 0 < len(names) == len(set(names)):
            raise ValueError("name at least one photograph, and none twice")
        return names

    def open(self) -> ImageFiles:
        """The photographs, unread, in the order of their names here."""
        names = _SPLITS[self.images] if isinstance(self.images, str) else self.images
        folder = Path(str(files("skimage"))) / "data"
        return ImageFiles(names, [{"target": folder / _FILES[name]} for name in names], cache_mb=1024)
