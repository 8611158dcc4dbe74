"""Maps of how far an image is from its target."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image
from skimage.color import lab2rgb

from rddm.core.images import Array

_STOPS = (  # lightness, a and b of CIELAB, at even distances
    (0, 0, 0),
    (25, 35, -45),
    (50, 60, -15),
    (74, 32, 55),
    (98, -6, 28),
)


@cache
def table() -> Array:
    """The colours of 0 .. 255, (256, 3) uint8: black, violet, red, orange, pale yellow.

    Lightness in CIELAB grows evenly (but for the bounds of RGB), so that equal differences look equally far apart, in
    grey print and to the colour-blind, too.
    """
    stops = np.array(_STOPS, dtype=np.float64)
    place, at = np.linspace(0, 1, 256), np.linspace(0, 1, len(stops))
    lab = np.stack([np.interp(place, at, channel) for channel in stops.T], axis=-1)
    colours: Array = np.round(lab2rgb(lab[None])[0] * 255).astype(np.uint8)
    return colours


def difference(image: Array, target: Array, scale: float) -> Image.Image:
    """|image - target|, the mean over channels, as a picture of `table`'s colours: black at 0, the last at `scale`.

    Args:
        image, target: (H, W, C) in 0 .. 255, of one shape.
        scale: in the same units; larger differences look like it.
    """
    far = np.abs(image.astype(np.float32) - target.astype(np.float32)).mean(axis=-1)
    picture = Image.fromarray(np.round(np.clip(far / scale, 0, 1) * 255).astype(np.uint8)).convert("L")
    picture.putpalette(table().tobytes())
    return picture
