"""Runs as columns: their evaluation images restored, or their training previews."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rddm.core import images
from rddm.core.errors import DataError
from rddm.core.kinds import Task
from rddm.core.systems.evaluate import results
from rddm.core.trainer import load
from rddm.report.columns import Column
from rddm.report.curves import logged


def restored(
    run: Path,
    name: str,
    scratch: Path,
    *,
    limit: int | None = None,
    device: str | None = None,
    changes: Sequence[str] = (),
) -> tuple[Column, Column, Column]:
    """Input, output and target, as far as there are some, of a run's evaluation images, written below `scratch`.

    Raises:
        DataError: the run draws images from noise, which have no targets of their own, or is not of images to look at.
        CheckpointError, SpecError: as `rddm.load`.
    """
    trainer = load(run, device, overrides=changes)
    if not trainer[Task].target_known:
        raise DataError(f"{run} draws images from noise, which have no targets; see them with --gallery")
    task = trainer[Task]
    if task.ndim != 2 or task.channels > 4:
        given = f"this run has {task.channels} channels in {task.ndim} dimensions"
        raise DataError(f"{run} cannot be shown: the page takes images of 1 to 4 channels; {given}")
    source: dict[str, Path] = {}
    output: dict[str, Path] = {}
    target: dict[str, Path] = {}
    total = min(limit or sys.maxsize, len(trainer[Task].eval_records()))
    for result in tqdm(results(trainer, limit=limit), name, total, unit="image", disable=not sys.stderr.isatty()):
        parts = (("input", source, result.input), ("output", output, result.output), ("target", target, result.target))
        for folder, files, image in parts:
            if image is None:
                continue
            files[result.name] = scratch / folder / f"{len(files):05}.png"
            images.write(files[result.name], images.to_array(image))
    return Column("input", "input", source), Column(name, "method", output), Column("target", "target", target)


def same(one: Column, other: Column, runs: tuple[str, str]) -> None:
    """Refuse two runs whose inputs or targets of one name differ. Raises DataError."""
    for name in sorted(one.files.keys() & other.files.keys()):
        if one.files[name].read_bytes() != other.files[name].read_bytes():
            raise DataError(
                f"{runs[0]} and {runs[1]} have another {one.role} each for {name!r}; give them the same"
                " evaluation images, such as --set task.eval=FOLDER"
            )


def previews(run: Path, name: str) -> tuple[Column, list[dict[str, Any]]]:
    """The samples that a run saved while it trained, named by their steps with what was measured then; and its log.

    Raises:
        DataError: no samples, or no log.
    """
    files = {file.stem.replace("_", " "): file for file in sorted((run / "samples").glob("step_*.png"))}
    if not files:
        raise DataError(f"{run} has no samples/step_*.png; give a folder that `rddm fit` wrote")
    log = logged(run)
    scores: dict[str, dict[str, float]] = {}
    for line in log:
        measured = {key[5:]: value for key, value in line.items() if re.match("eval_(?!input_)", key)}
        if measured:
            scores[f"step {int(line['step']):08}"] = measured
    return Column(name, "method", files, scores), log
