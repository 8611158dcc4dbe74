"""Arrays written as image files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from rddm.core import arrays
from rddm.core.arrays import Array

MODES = {  # the modes that hold images of 1, 2, 3 and 4 channels
    **dict.fromkeys(("JPEG2000", "PNG", "TGA", "TIFF"), ("L", "LA", "RGB", "RGBA")),
    **dict.fromkeys(("BMP", "JPEG", "PPM"), ("L", "L", "RGB", "RGB")),
    **dict.fromkeys(("QOI", "WEBP"), ("RGB", "RGBA", "RGB", "RGBA")),
    "AVIF": ("L", "RGBA", "RGB", "RGBA"),
}


def encode(path: Path, array: Array, form: str) -> None:
    """Write (H, W, C), uint8 or uint16, in a format of Pillow's that `MODES` names; or (*S, C) as "npy"."""
    if form == "npy":
        np.save(path, array, allow_pickle=False)
        return
    channels = array.shape[2]
    if array.dtype == np.uint16 and form not in ("PNG", "TIFF"):
        array = ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if channels <= 4 and (array.dtype == np.uint8 or channels == 1):
        mode = MODES[form][channels - 1] if array.dtype == np.uint8 else "I;16"
        image = Image.fromarray(np.ascontiguousarray(array if channels > 1 else array[..., 0]))
        (image if image.mode == mode else image.convert(mode)).save(path, form, quality=95)
    elif form == "TIFF":
        arrays.write_tiff(path, array)
    else:
        arrays.write_png(path, array)
