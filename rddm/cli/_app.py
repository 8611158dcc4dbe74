"""The command line's frame: what user errors become, and the options that commands share."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rddm import __version__
from rddm.core.errors import RddmError, SpecError
from rddm.core.registry import blamed


class _Group(TyperGroup):
    """Commands whose user errors are one line and exit code 2, and whose stopping is exit code 130.

    What goes wrong in a plugin's code names its distribution and line.
    """

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except RddmError as error:
            if os.environ.get("RDDM_TRACEBACK"):
                raise
            where = blamed(error)
            print(f"error: {error}" + (f"\n(raised in {where})" if where else ""), file=sys.stderr)
            raise typer.Exit(2) from None
        except KeyboardInterrupt as stop:
            print(f"\n{stop}" if str(stop) else "\nstopped", file=sys.stderr)
            raise typer.Exit(130) from None
        except Exception as error:
            if where := blamed(error):
                error.add_note(f"raised in {where}, which is no part of rddm; its authors can mend it there")
            raise


app = typer.Typer(
    name="rddm",
    cls=_Group,
    help="Residual denoising diffusion: train restorers on your own images, and restore with them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Run = Annotated[Path, typer.Argument(metavar="RUN", help="a folder that `rddm fit` wrote", show_default=False)]
SpecFile = Annotated[Path, typer.Argument(metavar="SPEC", help="a .yaml, .toml or .json file", show_default=False)]
Assignments = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="keys of the spec to change, such as sampler.steps=10"),
]
Steps = Annotated[int | None, typer.Option(help="sampling steps, in place of the spec's")]
Eta = Annotated[float | None, typer.Option(help="0 deterministic .. 1 ancestral, in place of the spec's")]
SamplerName = Annotated[str | None, typer.Option("--sampler", help="another sampling method that the network allows")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="a key of the run's spec to change, such as sampler.solver=heun"),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; the machine's accelerator by default")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace what is there")]


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="print the version and stop")] = False,
) -> None:
    if version:
        print(f"rddm {__version__}")
        raise typer.Exit


def size_of(text: str, ndim: int = 2) -> tuple[int, ...]:
    """(height, width), or as many sides as there are dimensions, from text such as 256 or 480x720."""
    sides = text.lower().split("x")
    if len(sides) not in (1, ndim) or not all(side.isdigit() and int(side) > 0 for side in sides):
        such = "x".join(("480", "720", "64")[:ndim])
        raise SpecError("command", [(("--size",), f"must be such as 256 or {such}; given {text!r}")])
    return tuple(map(int, sides)) if len(sides) == ndim else (int(sides[0]),) * ndim
