"""Restoring image files and folders of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Generator
from tqdm import tqdm

from rddm.core import images
from rddm.core.entity import Entity
from rddm.core.errors import DataError, OutputError
from rddm.core.kinds import Task
from rddm.core.systems.sample import restore

Job = tuple[Path, Path]  # an image file, and where its result goes


def plan(inputs: Sequence[Path], out: Path, *, overwrite: bool = False, resume: bool = False) -> list[Job]:
    """Every input image with the file its result goes to; reads and writes no pixel.

    A file keeps its name under `out`, a folder its inner structure; several folders keep their own names, too.
    Formats that can be read but not written (GIF, PSD, ...) become PNG. Results in `out` are no inputs, even if it
    lies in a folder of them.

    Raises:
        DataError: an input is missing, or a folder without images.
        OutputError: `out` is not empty and neither `overwrite` nor `resume` is set, or both are; two inputs would
            become one file; or a result would replace its own input.
    """
    jobs: list[Job] = []
    for given in inputs:
        if given.is_dir():
            base = out / given.resolve().name if len(inputs) > 1 else out
            results = out.resolve() if given.resolve() in out.resolve().parents else None
            files = [file for file in images.find(given) if results not in file.resolve().parents]
            jobs += [(file, base / images.result_name(file.relative_to(given))) for file in files]
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
    if overwrite and resume:
        raise OutputError("--resume keeps the results that are there, --overwrite replaces them; give one of them")
    if out.is_dir() and any(out.iterdir()) and not (overwrite or resume):
        ways = "--resume to keep the results in it and make the others, --overwrite to replace them"
        raise OutputError(f"{out} exists and is not empty; add {ways}, or choose another")
    return list(dict.fromkeys(jobs))


def restore_files(entity: Entity, jobs: Sequence[Job], *, seed: int = 0, batch: int = 1, **options: Any) -> list[str]:
    """Restore each file as if it were alone, and write each result when it is done; returns what failed, and why.

    Results are written whole or not at all: those that are there are done. On a terminal, bars show images and steps.

    Args:
        batch: images of equal size that are restored together, at most; results do not depend on it.
        options: for `restore`: steps, eta, sampler, tile, overlap.

    Raises:
        OutputError: the disk takes no more; SpecError: as `restore`.
        KeyboardInterrupt: after Ctrl-C, telling how many are done.
    """
    failures: list[str] = []
    shown, done = sys.stderr.isatty(), 0
    options |= {"progress": shown}
    outcomes = chain.from_iterable(_outcomes(entity, group, seed, options) for group in _batches(jobs, batch))
    try:
        for failure in tqdm(outcomes, total=len(jobs), desc="images", unit="image", disable=not shown):
            if failure is None:
                done += 1
            else:
                failures.append(failure)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped: {done} of {len(jobs)} images restored") from None
    return failures


def _batches(jobs: Sequence[Job], most: int) -> list[Sequence[Job]]:
    # models see a number of channels of their own, so that equal size is all that images need to go together
    groups: dict[object, list[Job]] = {}
    for job in jobs:
        try:
            key: object = images.size(job[0]) if most > 1 else job
        except DataError:  # told when it is read
            key = job
        groups.setdefault(key, []).append(job)
    return [group[i : i + most] for group in groups.values() for i in range(0, len(group), most)]


def _outcomes(entity: Entity, batch: Sequence[Job], seed: int, options: dict[str, Any]) -> Iterator[str | None]:
    # of each job: None when its result is written, or what went wrong
    read = []
    for source, result in batch:
        try:
            read.append((source, result, *images.for_model(images.read(source), entity[Task].channels)))
        except DataError as error:
            yield str(error)
        except MemoryError as error:
            yield f"{source}: too large for the memory: {error}"
    if not read:
        return
    try:
        inputs = torch.stack([image for *_, image, _ in read])
        outputs = restore(entity, inputs, generator=Generator().manual_seed(seed), **options)
    except (torch.OutOfMemoryError, MemoryError) as error:
        for source, *_ in read:
            yield f"{source}: too large for the memory, try a smaller --tile or --batch: {error}"
        return
    for (_, result, _, rest), output in zip(read, outputs, strict=True):
        images.write(result, images.from_model(output, rest))
        yield None
