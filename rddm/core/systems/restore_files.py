"""Restoring image files and folders of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Generator
from tqdm import tqdm

from rddm.core import images
from rddm.core.entity import Entity
from rddm.core.errors import SHOWN, DataError, OutputError
from rddm.core.extras import Given, accepted, applied, read
from rddm.core.folders import by_name
from rddm.core.kinds import Task
from rddm.core.systems.sample import restore


class Job(NamedTuple):
    """An image file, where its result goes, and its extras by role."""

    source: Path
    result: Path
    extras: Mapping[str, Given]


def plan(
    inputs: Sequence[Path],
    out: Path,
    *,
    ndim: int = 2,
    extras: Mapping[str, Given] | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> list[Job]:
    """Every input image with the file its result goes to, and its extras; reads and writes no pixel.

    A file keeps its name under `out`, a folder its inner structure; several folders keep their own names, too.
    Formats that can be read but not written (GIF, PSD, ...) become PNG. Results in `out` and extras are no inputs,
    even if they lie in a folder of them.

    Args:
        ndim: 1 or 3 for signals or volumes, in .npy files.
        extras: by role a folder of images in the structure of `out`, under the names of the inputs but for the
            suffix; one file, or numbers, for all inputs.

    Raises:
        DataError: an input or an extra is missing, all of those are named; or a folder is without images.
        OutputError: `out` is not empty and neither `overwrite` nor `resume` is set, or both are; two inputs would
            become one file, as those do whose names differ in case only on a disk that ignores it; or a result
            would replace an input.
    """
    names: dict[tuple[Path, Path], str] = {}  # of each source and result, without suffix: what extras are found by
    taken = [out, *(given for given in (extras or {}).values() if isinstance(given, Path))]
    for given in inputs:
        if given.is_dir():
            base = Path(given.resolve().name if len(inputs) > 1 else "")
            inner = {path.resolve() for path in taken if given.resolve() in path.resolve().parents}
            for file in images.find(given, ndim):
                if inner.isdisjoint([file.resolve(), *file.resolve().parents]):
                    name = base / file.relative_to(given)
                    names[file, out / images.result_name(name)] = name.with_suffix("").as_posix()
        elif given.is_file():
            names[given, out / images.result_name(Path(given.name))] = given.stem
        else:
            raise DataError(f"{given} is neither a file nor a folder (working directory: {Path.cwd()})")
    sources: dict[Path, Path] = {}
    originals = {source.resolve() for source, _ in names}
    for source, result in names:
        if result in sources:
            raise OutputError(f"{source} and {sources[result]} would both become {result}; restore them apart")
        if result.resolve() in originals:
            raise OutputError(f"{result}, the result of {source}, would replace an input; choose another --out")
        sources[result] = source
    alike: dict[str, Path] = {}
    for result in sources:
        if (other := alike.setdefault(str(result).casefold(), result)) != result and _ignores_case(out):
            raise OutputError(f"{other} and {result} are one file on this disk, which ignores case; restore them apart")
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; --out must be a folder")
    if overwrite and resume:
        raise OutputError("--resume keeps the results that are there, --overwrite replaces them; give one of them")
    if out.is_dir() and any(out.iterdir()) and not (overwrite or resume):
        ways = "--resume to keep the results in it and make the others, --overwrite to replace them"
        raise OutputError(f"{out} exists and is not empty; add {ways}, or choose another")
    found = _extras(list(names.values()), extras or {}, ndim)
    files = {given.resolve() for one in found for given in one.values() if isinstance(given, Path)}
    if replaced := [result for _, result in names if result.resolve() in files]:
        raise OutputError(f"{replaced[0]} would replace an extra; choose another --out")
    return [Job(*files, one) for files, one in zip(names, found, strict=True)]


def _ignores_case(folder: Path) -> bool:
    there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    try:
        with NamedTemporaryFile(prefix="case", dir=there) as probe:
            file = Path(probe.name)
            return file.with_name(file.name.swapcase()).exists()
    except OSError:  # told when a result is written
        return False


def _extras(names: Sequence[str], extras: Mapping[str, Given], ndim: int) -> list[dict[str, Given]]:
    found: list[dict[str, Given]] = [{} for _ in names]
    problems = []
    for role, given in extras.items():
        if not isinstance(given, Path) or given.is_file():
            for one in found:
                one[role] = given
            continue
        if not given.exists():
            raise DataError(f"{role}: {given} is neither a file nor a folder (working directory: {Path.cwd()})")
        there = by_name(given, ndim)
        problems += [f"{role} of {name}: not in {given}" for name in names if name not in there]
        for one, name in zip(found, names, strict=True):
            one |= {role: there[name]} if name in there else {}
    if problems:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        message = "images need extras of their own name, whatever the suffix, which are missing:"
        raise DataError("\n  ".join([message, *problems[:SHOWN], *more]))
    return found


def restore_files(entity: Entity, jobs: Sequence[Job], *, seed: int = 0, batch: int = 1, **options: Any) -> list[str]:
    """Restore each file as if it were alone, and write each result when it is done; returns what failed, and why.

    Results are written whole or not at all: those that are there are done. On a terminal, bars show images and steps.

    Args:
        batch: images of equal size that are restored together, at most; results do not depend on it.
        options: for `restore`: steps, eta, sampler, tile, overlap.

    Raises:
        DataError: the extras are not those that the task takes.
        OutputError: the disk takes no more; SpecError: as `restore`.
        KeyboardInterrupt: after Ctrl-C, telling how many are done.
    """
    _check_roles(entity[Task], jobs)
    failures: list[str] = []
    shown, done = sys.stderr.isatty(), 0
    options |= {"progress": shown}
    outcomes = chain.from_iterable(
        _outcomes(entity, group, seed, options) for group in _batches(jobs, batch, entity[Task].ndim)
    )
    try:
        for failure in tqdm(outcomes, total=len(jobs), desc="images", unit="image", disable=not shown):
            if failure is None:
                done += 1
            else:
                failures.append(failure)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped: {done} of {len(jobs)} images restored") from None
    return failures


def _check_roles(task: Task, jobs: Sequence[Job]) -> None:
    given = sorted({role for job in jobs for role in job.extras})
    takes, needs = accepted(task), set(task.extras)
    if jobs and not needs <= set(given) <= set(takes):
        said = [f"{role} (channels: {n}{'' if role in needs else ', if wanted'})" for role, n in takes.items()]
        raise DataError(
            f"inputs of the task {task.name!r} come with "
            + (f"{', '.join(said)}: add --extras {next(iter(takes))}=FOLDER" if takes else "no extras")
            + f"; given {', '.join(given) or 'none'}"
        )


def _batches(jobs: Sequence[Job], most: int, ndim: int) -> list[Sequence[Job]]:
    # models see a number of channels of their own, so that equal size is all that images need to go together
    groups: dict[object, list[Job]] = {}
    for job in jobs:
        try:
            key: object = images.size(job.source, ndim=ndim) if most > 1 else job[:2]
        except DataError:  # told when it is read
            key = job[:2]
        groups.setdefault(key, []).append(job)
    return [group[i : i + most] for group in groups.values() for i in range(0, len(group), most)]


def _outcomes(entity: Entity, batch: Sequence[Job], seed: int, options: dict[str, Any]) -> Iterator[str | None]:
    # of each job: None when its result is written, or what went wrong
    task, ready = entity[Task], []
    for source, result, extras in batch:
        try:
            image, rest = images.for_model(images.read(source, ndim=task.ndim), task.channels)
            size = tuple(image.shape[1:])
            beside = {role: read(given, role, accepted(task)[role], size) for role, given in extras.items()}
            ready.append((source, result, rest, *applied(task, image, beside)))
        except DataError as error:
            yield str(error) if str(source) in str(error) else f"{source}: {error}"
        except MemoryError as error:
            yield f"{source}: too large for the memory: {error}"
    if not ready:
        return
    try:
        inputs = torch.stack([image for *_, image, _ in ready])
        stacked = {role: torch.stack([beside[role] for *_, beside in ready]) for role in task.extras}
        outputs = restore(entity, inputs, generator=Generator().manual_seed(seed), extras=stacked, **options)
    except (torch.OutOfMemoryError, MemoryError) as error:
        for source, *_ in ready:
            yield f"{source}: too large for the memory, try a smaller --tile or --batch: {error}"
        return
    for (source, result, rest, *_), output in zip(ready, outputs, strict=True):
        made = images.from_model(output, rest)
        flat = task.ndim != 2 and np.load(source, mmap_mode="r").ndim == task.ndim  # written without channels
        images.write(result, made[..., 0] if flat else made)
        yield None
