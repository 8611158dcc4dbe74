"""Restoring image files and folders of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Generator
from tqdm import tqdm

from rddm.core import images
from rddm.core.entity import Entity
from rddm.core.errors import DataError, OutputError, RddmError
from rddm.core.kinds import Task
from rddm.core.systems.sample import restore


def plan(inputs: Sequence[Path], out: Path, *, overwrite: bool = False) -> list[tuple[Path, Path]]:
    """Every input image with the file its result goes to; reads and writes no pixel.

    A file keeps its name under `out`, a folder its inner structure; several folders keep their own names, too.
    Formats that can be read but not written (GIF, PSD, ...) become PNG.

    Raises:
        DataError: an input is missing, or a folder without images.
        OutputError: `out` is not empty and `overwrite` is not set, two inputs would become one file, or a result
            would replace its own input.
    """
    jobs: list[tuple[Path, Path]] = []
    for given in inputs:
        if given.is_dir():
            base = out / given.resolve().name if len(inputs) > 1 else out
            jobs += [(file, base / images.result_name(file.relative_to(given))) for file in images.find(given)]
        elif given.is_file():
            jobs.append((given, out / images.result_name(Path(given.name))))
        else:
            raise DataError(f"{given} is neither a file nor a folder (working directory: {Path.cwd()})")
    sources: dict[Path, Path] = {}
    for source, result in jobs:
        if sources.get(result) == source:
            continue
        if result in sources:
            raise OutputError(f"{source} and {sources[result]} would both become {result}; restore them apart")
        if result.resolve() == source.resolve():
            raise OutputError(f"{result} would replace its own input; choose another --out")
        sources[result] = source
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; --out must be a folder")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise OutputError(f"{out} exists and is not empty; add --overwrite to replace results in it, or choose another")
    return list(dict.fromkeys(jobs))


def restore_files(entity: Entity, jobs: Sequence[tuple[Path, Path]], *, seed: int = 0, **options: Any) -> list[str]:
    """Restore each file as if it were alone, and write each result when it is done; returns what failed, and why.

    Raises:
        OutputError: the disk takes no more; SpecError: as `restore`.
    """
    failures = []
    for source, result in tqdm(jobs, desc="restore", unit="image", disable=not sys.stderr.isatty()):
        try:
            image, rest = images.for_model(images.read(source), entity[Task].channels)
            output = restore(entity, image, generator=Generator().manual_seed(seed), **options)
        except (DataError, torch.OutOfMemoryError, MemoryError) as error:
            failures.append(
                str(error) if isinstance(error, RddmError) else f"{source}: too large for the memory: {error}"
            )
            continue
        images.write(result, images.from_model(output, rest))
    return failures
