"""The command that begins a package of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rddm.cli._app import app
from rddm.core.registry import KINDS


@app.command("new-plugin")
def new_plugin_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="of the component, such as cosine", show_default=False)],
    kind: Annotated[str, typer.Option(help=f"one of: {', '.join(KINDS)}", show_default=False)],
    out: Annotated[Path, typer.Option(help="the folder in which the package's own is made")] = Path("."),
) -> None:
    """Write a package with one small component, its test and README, ready to be installed and changed."""
    from rddm.scaffold.package import new_plugin

    folder = new_plugin(name, kind, out)
    print(f"{folder}\nnext: pip install -e '{folder}[test]' && rddm list {kind} && pytest {folder}")
