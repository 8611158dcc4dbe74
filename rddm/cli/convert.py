"""The commands that take models from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rddm.cli._app import Assignments, Overwrite, app

convert = typer.Typer(
    help="Take models from elsewhere: published checkpoints, and pipelines of diffusers.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(convert, name="convert")

Out = Annotated[Path, typer.Option(metavar="RUN", help="run folder to write")]


@convert.command()
def diffusers(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a folder that save_pretrained wrote")],
    out: Out,
    ddim: Annotated[bool, typer.Option("--ddim", help="sample as DDIMScheduler, whatever scheduler was saved")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Convert a saved DDPMPipeline or DDIMPipeline. Nothing is downloaded."""
    from rddm.convert.diffusers import convert

    print(convert(folder, out, ddim=ddim, overwrite=overwrite))


@convert.command()
def reference(
    checkpoint: Annotated[Path, typer.Argument(metavar="CKPT", help="a .pt file of the published implementation")],
    out: Out,
    assignments: Assignments = None,
    overwrite: Overwrite = False,
) -> None:
    """Convert a checkpoint of the published implementation of RDDM."""
    from rddm.convert.reference import convert

    print(convert(checkpoint, out, assignments or [], overwrite=overwrite))
