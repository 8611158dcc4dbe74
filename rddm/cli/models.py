"""The commands that train models and use them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rddm.cli._app import Assignments, Changes, Device, Eta, Overwrite, Run, SamplerName, SpecFile, Steps, app, size_of
from rddm.cli._output import new_file, print_scores
from rddm.core.errors import DataError, OutputError, SpecError

if TYPE_CHECKING:
    from torch import Tensor

    from rddm.core.trainer import Trainer

SHEET = 256  # images side by side


@app.command()
def fit(
    spec: SpecFile,
    assignments: Assignments = None,
    out: Annotated[Path | None, typer.Option(help="run folder; by default runs/<spec's name>")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the newest checkpoint in --out")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Train a model from a spec, tell how good it is, and leave a run folder."""
    from rddm.core.kinds import Task
    from rddm.core.spec import override, read_table
    from rddm.core.trainer import build

    folder = out or Path("runs") / spec.stem
    trainer = build(override(read_table(spec), assignments or []))
    scores = trainer.fit(folder, resume=resume, overwrite=overwrite)
    if int(os.environ.get("RANK", "0")) == 0:
        print_scores(scores)
        for key, value in trainer.learnt().items():
            print(f"{key:<15} {value}")
        shown = "  (degraded | restored | target)" if trainer[Task].target_known else ""
        print(f"run      {folder}")
        for picture in sorted((folder / "samples").glob("*.png"))[-1:]:
            print(f"picture  {picture}{shown}")
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@app.command()
def restore(
    run: Run,
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="image files or folders of them")],
    out: Annotated[Path, typer.Option(help="folder for the results; names are kept, folders mirrored")],
    steps: Steps = None,
    eta: Eta = None,
    sampler: SamplerName = None,
    changes: Changes = None,
    extras: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROLE=FOLDER",
            help="what the task needs beside the input, such as mask=DIR: a folder of images of the inputs' names, one"
            " image for all, or ROLE=NUMBER[,NUMBER...] in [0, 1], one for each channel; repeatable",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="of the start noise, the same for every image")] = 0,
    tile: Annotated[
        int | None,
        typer.Option(
            min=0,
            show_default=False,
            help="side of the tiles in which networks see an image, so that memory is bounded; 0: never any;"
            " by default 512 for images above 2^20 pixels, and none for others",
        ),
    ] = None,
    overlap: Annotated[
        int | None, typer.Option(min=0, show_default=False, help="pixels that tiles share, by default 32")
    ] = None,
    batch: Annotated[
        int, typer.Option(min=1, help="images of equal size restored together, at most; the results are the same")
    ] = 1,
    device: Device = None,
    overwrite: Overwrite = False,
    resume: Annotated[bool, typer.Option("--resume", help="keep the results that are there, make the others")] = False,
) -> None:
    """Restore image files of any size. Grey, alpha and 16 bits are kept; nothing is resized. Signals are .npy files.

    Results are written as they are done, so that --resume goes on after a stop. An image that fails is named, the
    others are restored all the same, and the exit code is 1.
    """
    for given in inputs:  # before anything heavy is imported
        if not given.exists():
            raise DataError(f"{given} is neither a file nor a folder (working directory: {Path.cwd()})")
    from rddm.core.checkpoint import read_spec
    from rddm.core.kinds import Task
    from rddm.core.systems.restore_files import plan, restore_files

    jobs = plan(
        inputs, out, ndim=read_spec(run).task.ndim, extras=_extras(extras or []), overwrite=overwrite, resume=resume
    )
    left = [job for job in jobs if not (resume and job.result.exists())]
    options: dict[str, Any] = {"steps": steps, "eta": eta, "sampler": sampler, "tile": tile, "overlap": overlap}
    trainer = _load(run, changes, device)
    if trainer[Task].from_noise:
        problem = f"is a run of the task {trainer[Task].name!r}, which draws images and restores none: use"
        raise SpecError("command", [((str(run),), f"{problem} rddm sample {run} --out DIR")])
    try:
        failures = restore_files(trainer, left, seed=seed, batch=batch, **options)
    except KeyboardInterrupt as stop:
        ways = "" if overwrite else "; the same command with --resume goes on"
        raise KeyboardInterrupt(f"{stop}{ways}") from None
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    kept = f", {len(jobs) - len(left)} of them before" if resume else ""
    print(f"{len(jobs) - len(failures)} of {len(jobs)} images restored to {out}{kept}")
    if failures:
        raise typer.Exit(1)


def _extras(given: list[str]) -> dict[str, Path | tuple[float, ...]]:
    found: dict[str, Path | tuple[float, ...]] = {}
    for text in given:
        role, _, value = text.partition("=")
        if not role or not value or role in found:
            problem = f"must be such as mask=FOLDER, each role once; given {text!r}"
            raise SpecError("command", [(("--extras",), problem)])
        try:
            found[role] = tuple(float(number) for number in value.split(","))
        except ValueError:
            found[role] = Path(value)
    return found


@app.command()
def sample(
    run: Run,
    out: Annotated[
        Path, typer.Option(help="a new folder for the images, 000000.png and so on (or .tif; signals: .npy)")
    ],
    count: Annotated[int, typer.Option(min=1, help="how many images")] = 16,
    size: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH or one side; by default that of training")] = None,
    steps: Steps = None,
    eta: Eta = None,
    sampler: SamplerName = None,
    changes: Changes = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="image n follows from (seed, n)")] = 0,
    sheet: Annotated[
        Path | None, typer.Option(help=f"write the images, {SHEET} at most, side by side to this .png file, too")
    ] = None,
    device: Device = None,
) -> None:
    """Draw images from noise with a run of the task generation.

    Images are written as they are drawn, and the folder is there when all are.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} is there already, and drawn images replace nothing; choose another --out")
    if sheet is not None:
        new_file(sheet, ".png")
    import numpy as np
    import torch

    from rddm.core import images, pictures
    from rddm.core.files import fresh_folder
    from rddm.core.kinds import Task
    from rddm.core.systems.sample import samples

    trainer = _load(run, changes, device)
    if not trainer[Task].from_noise:
        problem = f"is a run of the task {trainer[Task].name!r}, which turns images into others and draws none: use"
        raise SpecError("command", [((str(run),), f"{problem} rddm restore {run} INPUT --out DIR")])
    task = trainer[Task]
    shape = None if size is None else size_of(size, task.ndim)
    suffix = ".npy" if task.ndim != 2 else ".png" if task.channels <= 4 else ".tif"
    dtype = np.uint8 if task.ndim == 2 else np.float32
    options: dict[str, Any] = {"size": shape, "steps": steps, "eta": eta, "sampler": sampler, "seed": seed}
    shown: list[Tensor] = []
    with fresh_folder(out, overwrite=True) as folder:
        number = 0
        for drawn in samples(trainer, count, progress=sys.stderr.isatty(), **options):
            for image in drawn:
                images.write(folder / f"{number:06d}{suffix}", images.to_array(image, dtype))
                number += 1
            shown += drawn[: max(0, SHEET - len(shown))] if sheet is not None else []
    if sheet is not None:
        pictures.sheet(torch.stack(shown), sheet)
    print(f"{count} images drawn to {out}")


def _load(run: Path, assignments: list[str] | None, device: str | None) -> Trainer:
    from rddm.core.trainer import load

    return load(run, device, overrides=assignments or [])
