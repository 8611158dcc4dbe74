"""A page that shows columns of images side by side; a folder that needs no server and no network."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from statistics import fmean
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image
from tqdm import tqdm

from rddm.core import images, metrics
from rddm.core.errors import DataError, OutputError
from rddm.core.files import fresh_folder
from rddm.core.images import Array
from rddm.core.kinds import usual_metrics
from rddm.report.columns import Column
from rddm.report.curves import Chart
from rddm.report.difference import difference, table

OURS = re.compile(r"index\.html|data\.js|assets|images")
_START = "window.rddmReport = "
_LABELS = {"psnr": "PSNR", "ssim": "SSIM", "psnr_y": "PSNR-Y", "ssim_y": "SSIM-Y", "swd": "SWD"}
_COPIED = {".png", ".jpg", ".jpeg"}  # what every browser shows as `images.read` reads it
_THUMB = 96


def write(
    out: Path,
    columns: Sequence[Column],
    names: Sequence[str],
    *,
    title: str,
    scale: float = 64,
    charts: Sequence[Chart] = (),
    overwrite: bool = False,
) -> list[str]:
    """Write the page, and return what is missing or could not be read or compared, a sentence each.

    Images are copied as they are (PNG, JPEG) or become PNG. Where a column of targets is there, the others are measured
    against it (`rddm.core.metrics`), and their differences drawn.

    Args:
        columns: from left to right; at least one method.
        names: the images, in order.
        scale: the difference, in 0 .. 255, at the end of the colour bar.
        charts: drawn below the images.

    Raises:
        OutputError: `out` is there, and `overwrite` is not set or it is no page; or the disk does not take it.
    """
    if overwrite and out.exists():
        _check_page(out)
    notes: list[str] = []
    with fresh_folder(out, overwrite=overwrite, ours=OURS) as folder:
        rows = [
            _row(folder, number, name, columns, scale, notes)
            for number, name in enumerate(tqdm(names, "page", unit="image", disable=not sys.stderr.isatty()))
        ]
        keys = list(dict.fromkeys(key for row in rows for cell in row["cells"] if cell for key in cell["scores"]))
        # swd and losses are better when they are small
        figures = [
            {"key": key, "label": _LABELS.get(key, key), "better": 1 if key.startswith(("psnr", "ssim")) else -1}
            for key in keys
        ]
        panes = [
            {"name": column.name, "role": column.role, "mean": _mean([row["cells"][place] for row in rows], keys)}
            for place, column in enumerate(columns)
        ]
        data = {"panes": panes, "figures": figures, "rows": rows, "scale": scale}
        # a script and not JSON, because a page from the file system may not fetch; knows NaN and Infinity
        (folder / "data.js").write_text(f"{_START}{json.dumps(data)};\n", encoding="utf-8")
        colours = ", ".join("#{:02x}{:02x}{:02x}".format(*colour) for colour in table()[::15])
        page = Environment(
            loader=PackageLoader("rddm.report", "_assets"), autoescape=True, undefined=StrictUndefined
        ).get_template("index.html")
        text = page.render(**data, title=title, notes=notes, charts=charts, colours=colours, number=_number)
        (folder / "index.html").write_text(text, encoding="utf-8")
        (folder / "assets").mkdir()
        for asset in files("rddm.report").joinpath("_assets").iterdir():
            if asset.name != "index.html":
                (folder / "assets" / asset.name).write_bytes(asset.read_bytes())
    return notes


def _check_page(out: Path) -> None:
    try:
        there = not any(out.iterdir()) or (out / "data.js").read_text(encoding="utf-8").startswith(_START)
    except (OSError, ValueError):
        there = False
    if not there:
        raise OutputError(f"{out} is not overwritten, because it is no page of rddm; choose another name")


def _row(
    folder: Path, number: int, name: str, columns: Sequence[Column], scale: float, notes: list[str]
) -> dict[str, Any]:
    arrays = [_read(column, name, notes) for column in columns]
    known = [array for array, column in zip(arrays, columns, strict=True) if column.role == "target"]
    target = known[0] if known else None
    cells: list[dict[str, Any] | None] = []
    for place, (array, column) in enumerate(zip(arrays, columns, strict=True)):
        if array is None:
            cells.append(None)
            continue
        cell = {
            "src": _save(folder, f"{place}-" + re.sub(r"[^\w.-]+", "-", column.name), name, array, column.files[name]),
            "size": [array.shape[1], array.shape[0]],
            "scores": dict(column.scores.get(name, {})),
        }
        if target is not None and column.role != "target":
            if array.shape[:2] == target.shape[:2]:
                cell["scores"], picture = _compared(array, target, scale)
                cell["difference"] = _save(folder, f"difference-{place}", name, picture)
            else:
                sizes = [f"{x.shape[1]} x {x.shape[0]}" for x in (array, target)]
                notes.append(f"{name}: {column.name} is {sizes[0]}, the target {sizes[1]}; not compared")
        cells.append(cell)
    shown = next((array for array in arrays if array is not None), None)
    thumb = None
    if shown is not None:
        picture = Image.fromarray(images.as_channels(images.to_array(images.to_tensor(shown)), 3))
        picture.thumbnail((_THUMB, _THUMB))
        thumb = _save(folder, "thumbs", f"{number:05}", picture)
    return {"name": name, "thumb": thumb, "cells": cells}


def _save(folder: Path, group: str, name: str, image: Array | Image.Image, source: Path | None = None) -> str:
    # The address of the image in the page. A file that browsers show is copied as it is.
    kept = source is not None and source.suffix.lower() in _COPIED
    file = folder / "images" / group / f"{name}{source.suffix.lower() if source and kept else '.png'}"
    file.parent.mkdir(parents=True, exist_ok=True)
    if source is not None and kept:
        shutil.copyfile(source, file)
    elif isinstance(image, Image.Image):
        image.save(file)
    else:
        images.write(file, image if image.dtype.kind == "u" else images.to_array(images.to_tensor(image)))
    return quote(file.relative_to(folder).as_posix())


def _compared(array: Array, target: Array, scale: float) -> tuple[dict[str, float], Image.Image]:
    channels = 3 if max(array.shape[2], target.shape[2]) > 2 else 1
    image, truth = (images.to_tensor(images.as_channels(x, channels)) for x in (array, target))
    return metrics.measure(usual_metrics(), image, truth), difference(
        images.to_array(image), images.to_array(truth), scale
    )


def _read(column: Column, name: str, notes: list[str]) -> Array | None:
    if name not in column.files:
        notes.append(f"{name}: missing in {column.name}")
        return None
    try:
        return images.read(column.files[name])
    except DataError as error:
        notes.append(f"{name}: {error}")
        return None


def _mean(cells: list[dict[str, Any] | None], keys: list[str]) -> dict[str, Any]:
    found = {key: [cell["scores"][key] for cell in cells if cell and key in cell["scores"]] for key in keys}
    return {
        "images": sum(cell is not None for cell in cells),
        **{key: fmean(values) for key, values in found.items() if values},
    }


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}" if abs(value) >= 0.1 else f"{value:.2g}"
