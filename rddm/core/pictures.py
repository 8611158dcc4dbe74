"""Pictures of results for the eye."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.utils import make_grid

from rddm.core.files import fresh_file
from rddm.core.images import as_channels, to_array, to_tensor
from rddm.core.systems.evaluate import Result

ROW_HEIGHT = 384
CAPTION = 200  # pixels that a caption takes
GAP = 6
HEADER = 26


def side_by_side(results: Sequence[Result], file: Path) -> None:
    """Write one PNG with a row for each result: degraded | restored | target, with their first two figures above.

    Rows are at most 384 pixels high; larger images are reduced for the picture, and small ones enlarged, unsmoothed, to
    the width of a caption. Of volumes the middle slice is shown, of signals the curves of all channels. A target that
    is not known is not shown.

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
    """Write images (N, C, *S) in [0, 1] as one PNG, side by side in about a square; small ones enlarged, unsmoothed.

    Of volumes the middle slice is shown, of signals the curves.

    Raises:
        OutputError: the file cannot be written.
    """
    if images.ndim == 3:
        images = torch.stack([to_tensor(np.asarray(_curves(signal))) for signal in images])
    images = images if images.ndim == 4 else images[:, :, images.shape[2] // 2]
    enlarge = max(1, 64 // max(images.shape[-2:]))
    shown = images[:, :1] if images.shape[1] == 2 else images[:, :3]
    shown = shown.repeat_interleave(enlarge, -1).repeat_interleave(enlarge, -2)
    grid = make_grid(shown, nrow=math.ceil(math.sqrt(len(shown))), padding=2, pad_value=1.0)
    with fresh_file(file) as temporary:
        Image.fromarray(to_array(grid)).save(temporary)


def _row(result: Result) -> Image.Image:
    panes = {
        f"degraded  {_figures(result, 'input_')}": result.input,
        f"restored  {_figures(result, '')}": result.output,
        f"target  {result.name}": result.target,
    }
    shown = {caption: image for caption, image in panes.items() if image is not None}
    pictures = [_curves(image) if image.ndim == 2 else _picture(to_array(_plane(image))) for image in shown.values()]
    width, height = pictures[0].size
    row = Image.new("RGB", (len(shown) * (width + GAP) - GAP, HEADER + height + GAP), "white")
    font = ImageFont.load_default(size=max(9, min(16, width // 20)))
    for place, (caption, picture) in enumerate(zip(shown, pictures, strict=True)):
        left = place * (width + GAP)
        row.paste(picture, (left, HEADER))
        ImageDraw.Draw(row).text((left + 4, 5), caption, fill="black", font=font)
    return row


def _figures(result: Result, prefix: str) -> str:
    keys = [key for key in result.scores if f"input_{key}" in result.scores][:2]
    values = {key: result.scores[prefix + key] for key in keys}
    return "  ".join(f"{key.upper()} {value:.{2 if abs(value) >= 10 else 3}f}" for key, value in values.items())


def _plane(image: Tensor) -> Tensor:
    return image if image.ndim == 3 else image[:, image.shape[1] // 2]


def _curves(signal: Tensor) -> Image.Image:
    picture = Image.new("RGB", (2 * ROW_HEIGHT, ROW_HEIGHT // 2), "white")
    draw, (width, height) = ImageDraw.Draw(picture), picture.size
    draw.rectangle((0, 0, width - 1, height - 1), outline="lightgrey")
    for channel, colour in zip(signal.tolist(), cycle(("navy", "darkorange", "seagreen", "crimson")), strict=False):
        step = (width - 1) / max(1, len(channel) - 1)
        draw.line([(n * step, (1 - value) * (height - 1)) for n, value in enumerate(channel)], colour, width=1)
    return picture


def _picture(array: np.ndarray) -> Image.Image:
    channels = array.shape[-1]
    picture = Image.fromarray(as_channels(array[..., : 3 if channels > 3 else 1 if channels == 2 else channels], 3))
    enlarge = min(CAPTION // picture.width, ROW_HEIGHT // picture.height)
    if enlarge > 1:
        return picture.resize((enlarge * picture.width, enlarge * picture.height), Image.Resampling.NEAREST)
    reduce = min(1.0, ROW_HEIGHT / picture.height)
    return picture.resize(
        (max(1, round(picture.width * reduce)), max(1, round(picture.height * reduce))),
        Image.Resampling.LANCZOS,
    )
