"""Pictures of results for the eye."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.utils import make_grid

from rddm.core.files import fresh_file
from rddm.core.images import as_channels, to_array
from rddm.core.systems.evaluate import Result

ROW_HEIGHT = 384
GAP = 6
HEADER = 26


def side_by_side(results: Sequence[Result], file: Path) -> None:
    """Write one PNG with a row for each result: degraded | restored | target, with their PSNR and SSIM above.

    Rows are at most 384 pixels high; larger images are reduced for the picture (never enlarged).

    Raises:
        OutputError: the file cannot be written.
    """
    rows = [_row(result) for result in results]
    width, height = max(row.width for row in rows), sum(row.height for row in rows)
    sheet = Image.new("RGB", (width, height), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    with fresh_file(file) as temporary:
        sheet.save(temporary)


def sheet(images: Tensor, file: Path) -> None:
    """Write images (N, C, H, W) in [0, 1] as one PNG, side by side in about a square; small ones enlarged, unsmoothed.

    Raises:
        OutputError: the file cannot be written.
    """
    enlarge = max(1, 64 // max(images.shape[-2:]))
    shown = images[:, :1] if images.shape[1] == 2 else images[:, :3]
    shown = shown.repeat_interleave(enlarge, -1).repeat_interleave(enlarge, -2)
    grid = make_grid(shown, nrow=math.ceil(math.sqrt(len(shown))), padding=2, pad_value=1.0)
    with fresh_file(file) as temporary:
        Image.fromarray(to_array(grid)).save(temporary)


def _row(result: Result) -> Image.Image:
    scores = result.scores
    panes = {
        f"degraded  {scores['input_psnr']:.2f} dB  SSIM {scores['input_ssim']:.3f}": result.input,
        f"restored  {scores['psnr']:.2f} dB  SSIM {scores['ssim']:.3f}": result.output,
        f"target  {result.name}": result.target,
    }
    pictures = [_picture(to_array(image)) for image in panes.values()]
    width, height = pictures[0].size
    row = Image.new("RGB", (3 * width + 2 * GAP, HEADER + height + GAP), "white")
    font = ImageFont.load_default(size=max(9, min(16, width // 20)))
    for place, (caption, picture) in enumerate(zip(panes, pictures, strict=True)):
        left = place * (width + GAP)
        row.paste(picture, (left, HEADER))
        ImageDraw.Draw(row).text((left + 4, 5), caption, fill="black", font=font)
    return row


def _picture(array: np.ndarray) -> Image.Image:
    channels = array.shape[-1]
    picture = Image.fromarray(as_channels(array[..., : 3 if channels > 3 else 1 if channels == 2 else channels], 3))
    reduce = min(1.0, ROW_HEIGHT / picture.height)
    return picture.resize(
        (max(1, round(picture.width * reduce)), max(1, round(picture.height * reduce))),
        Image.Resampling.LANCZOS,
    )
