"""What needs no training: compensated colours and a local stretch of lightness.

python -m rddm_underwater.classical photos/ --out stretched
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from kornia.color import lab_to_rgb, rgb_to_lab
from skimage.exposure import equalize_adapthist
from torch import Tensor

from rddm.plugin import OutputError, RddmError, by_name, images
from rddm_underwater.colour import compensated


def enhanced(image: Tensor) -> Tensor:
    """An RGB image (3, H, W) in [0, 1], its cast compensated, its lightness equalised by CLAHE."""
    lab = rgb_to_lab(compensated(image[None]))
    stretched = equalize_adapthist(lab[0, 0].numpy() / 100, clip_limit=0.01)
    lab[0, 0] = 100 * torch.from_numpy(stretched)
    return lab_to_rgb(lab)[0].clamp(0, 1)


def main() -> None:
    """Enhance every image below a folder; results are PNG files, named as they were."""
    parser = argparse.ArgumentParser(prog="python -m rddm_underwater.classical", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="images of any format that rddm reads")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    given = parser.parse_args()
    try:
        files = by_name(given.folder)
        results = {given.out / f"{name}.png": path for name, path in files.items()}
        if there := [result for result in results if result.exists()]:
            raise OutputError(f"{there[0]} is there already, and not replaced; choose another --out")
        for result, path in results.items():
            image = images.to_tensor(images.as_channels(images.read(path), 3))
            images.write(result, images.to_array(enhanced(image)))
    except RddmError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
