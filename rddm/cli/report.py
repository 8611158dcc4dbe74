"""The command that writes a page to compare images on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rddm.cli._app import Changes, Device, Overwrite, app
from rddm.core.errors import SpecError

if TYPE_CHECKING:
    from rddm.report.columns import Column


@app.command()
def report(
    given: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]DIR...",
            help="a method: a folder of result images, of any program, or a run, which restores its evaluation images",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="folder of the page; open index.html in it")],
    input: Annotated[Path | None, typer.Option(help="folder of the degraded images")] = None,
    target: Annotated[Path | None, typer.Option(help="folder of the true images, to measure against")] = None,
    gallery: Annotated[
        bool, typer.Option("--gallery", help="of runs: the samples saved in training, step by step, and curves")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="the first so many images only")] = None,
    scale: Annotated[float, typer.Option(min=1, max=255, help="difference at the end of the colour bar")] = 64,
    title: Annotated[str, typer.Option(help="of the page")] = "",
    changes: Changes = None,
    device: Device = None,
    overwrite: Overwrite = False,
) -> None:
    """Compare methods, inputs and targets side by side on a page that needs no server and no network."""
    if gallery and (input or target):
        raise SpecError("command", [(("--gallery",), "shows what runs saved; takes no --input and no --target")])
    if out.exists() and not overwrite:  # before hours of restoring
        from rddm.core.errors import OutputError

        raise OutputError(f"{out} exists; choose another name, or add --overwrite")
    from tempfile import TemporaryDirectory

    from rddm.report.columns import check, folder
    from rddm.report.curves import charts
    from rddm.report.page import write
    from rddm.report.runs import previews, restored, same

    places = [_named(text) for text in given]
    sides: dict[str, Column] = {}
    methods: list[Column] = []
    curves = []
    with TemporaryDirectory(prefix="rddm-report-") as scratch:
        for role, path in (("input", input), ("target", target)):
            if path is not None:
                sides[role] = folder(path, "input" if role == "input" else "target", role)
        if gallery:
            found = [previews(path, name) for name, path in places]
            methods = [column for column, _ in found]
            curves = charts({column.name: log for column, log in found})
        ran: list[tuple[Path, Column, Column]] = []
        for number, (name, path) in enumerate(places if not gallery else []):
            if not (path / "spec.yaml").is_file():
                methods.append(folder(path, "method", name))
                continue
            source, output, truth = restored(
                path, name, Path(scratch, str(number)), limit=limit, device=device, changes=changes or []
            )
            methods.append(output)
            for other, *theirs in ran:
                for mine, their in zip((source, truth), theirs, strict=True):
                    same(mine, their, (str(path), str(other)))
            ran.append((path, source, truth))
        for _, source, truth in ran:
            for role, column in (("input", source), ("target", truth)):
                if column.files:
                    sides.setdefault(role, column)
        columns = [*([sides["input"]] if "input" in sides else []), *methods]
        columns += [sides["target"]] if "target" in sides else []
        check(columns)
        shown = {name for _, source, _ in ran for name in source.files}  # a run's limit is everyone's
        names = sorted(shown if shown and limit else {name for column in methods for name in column.files})[:limit]
        notes = write(
            out,
            columns,
            names,
            title=title or "Training" * gallery or "Comparison of " + ", ".join(column.name for column in methods),
            scale=scale,
            charts=curves,
            overwrite=overwrite,
        )
    for note in notes[:10]:
        print(f"note     {note}")
    if len(notes) > 10:
        print(f"note     and {len(notes) - 10} more; the page lists them all")
    print(f"page     {out / 'index.html'}  ({len(names)} images, {len(columns)} columns)")


def _named(text: str) -> tuple[str, Path]:
    name, equals, rest = text.partition("=")
    if not equals or Path(text).exists():
        return Path(text).resolve().name, Path(text)
    return name, Path(rest)
