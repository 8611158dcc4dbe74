"""The command line."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="rddm-pansharpen",
    help="Fuse multispectral and panchromatic GeoTIFF with models that `rddm fit` trained.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Run = Annotated[Path, typer.Argument(metavar="RUN", help="a folder that `rddm fit` wrote", show_default=False)]
Changes = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="keys of its spec to change, such as task.eval.path=DIR"),
]
Tile = Annotated[int | None, typer.Option(help="side of the network's tiles in pixels, 0 for none; chosen by default")]
Steps = Annotated[int | None, typer.Option(help="sampling steps, in place of the spec's")]


@app.command()
def fuse(
    run: Run,
    changes: Changes = None,
    *,
    ms: Annotated[Path, typer.Option(help="multispectral GeoTIFF", show_default=False)],
    pan: Annotated[Path, typer.Option(help="panchromatic GeoTIFF of the same area", show_default=False)],
    out: Annotated[Path, typer.Option(help="GeoTIFF to write", show_default=False)],
    tile: Tile = None,
    overlap: Annotated[int | None, typer.Option(help="pixels that tiles share at least")] = None,
    steps: Steps = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace what is there")] = False,
) -> None:
    """Write MS at the resolution of PAN, with its data type and PAN's georeference."""
    import rddm
    from rddm_pansharpen.fuse import fuse as write

    trainer = rddm.load(run, overrides=changes or [])
    progress = sys.stderr.isatty()
    write(trainer, ms, pan, out, overwrite=overwrite, tile=tile, overlap=overlap, steps=steps, progress=progress)
    print(out)


@app.command()
def table(
    run: Run,
    changes: Changes = None,
    *,
    steps: Steps = None,
    tile: Tile = None,
    to: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="write the figures there, too")] = None,
    picture: Annotated[Path | None, typer.Option(help="PNG to write: every method's image of one tile")] = None,
) -> None:
    """Measure a model and classical methods on the evaluation tiles, at reduced and at full resolution."""
    import rddm
    from rddm_pansharpen import table as tables

    trainer = rddm.load(run, overrides=changes or [])
    options: dict[str, Any] = {"steps": steps, "tile": tile}
    found = {"reduced": tables.reduced(trainer, **options), "full": tables.full(trainer, **options)}
    _show("reduced resolution, beside the target", found["reduced"])
    if found["full"]:
        _show("full resolution, no reference", found["full"])
    if to is not None:
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if picture is not None:
        tables.picture(trainer, picture, **options)


def _show(title: str, found: dict[str, dict[str, float]]) -> None:
    from rich.console import Console
    from rich.table import Table

    shown = Table(title=title, title_justify="left")
    shown.add_column("method")
    keys = list(next(iter(found.values())))
    for key in keys:
        shown.add_column(key, justify="right")
    for name, scores in found.items():
        shown.add_row(name, *(f"{scores[key]:.4f}" for key in keys))
    Console().print(shown)


def main() -> None:
    """Run the command line; a user's error is one line and exit code 2."""
    from rddm import RddmError

    warnings.filterwarnings("ignore", message=".*torch.jit.script. is deprecated")  # raised inside torchvision and timm
    try:
        app()
    except RddmError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
