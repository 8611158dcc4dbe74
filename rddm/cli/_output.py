"""What commands print and write: scores, and tables of them."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from rddm.core.errors import OutputError

ROWS = 40  # images in a printed table
INPUT = "input_"
ENDS = ("95 % from", "95 % to")  # of the confidence interval of a mean

Json = Annotated[Path | None, typer.Option(metavar="FILE", help="write all of it to this .json file, too")]
Csv = Annotated[Path | None, typer.Option(metavar="FILE", help="and to this .csv file")]
Markdown = Annotated[Path | None, typer.Option(metavar="FILE", help="and to this .md file")]


def new_file(file: Path | None, suffix: str, overwrite: bool | None = None) -> None:
    """Refuse a name before anything takes time; `overwrite` is None of a command without --overwrite.

    Raises:
        OutputError: the file is there and not to be replaced, or has another suffix.
    """
    if file is None:
        return
    if file.suffix.lower() != suffix:
        raise OutputError(f"this is written to a {suffix} file; given {file.name!r}")
    if file.exists() and not overwrite:
        ways = "choose another name" + ("" if overwrite is None else ", or add --overwrite")
        raise OutputError(f"{file} is there already and not replaced unasked; {ways}")


def print_scores(scores: dict[str, Any]) -> None:
    """A table: a row for each of the first images, one for the mean, and its confidence interval."""
    names = _names(scores)
    if not scores["per_image"]:  # a set of images, drawn
        print(", ".join(f"{name} {scores[name]:.4f}" for name in names) + f" over {scores['images']} images")
        return
    keys = [key for name in names for key in (INPUT + name, name) if key in scores]
    heads = [f"{key.removeprefix(INPUT)} in" if key.startswith(INPUT) else _head(key, scores) for key in keys]
    images = list(scores["per_image"].items())
    rows = [[image, *(_text(key, values.get(key)) for key in keys)] for image, values in images[:ROWS]]
    rows.append([f"mean of {scores['images']}", *(_text(key, scores[key]) for key in keys)])
    ends = scores.get("ci", {})
    for end, head in enumerate(ENDS if ends else ()):
        rows.append([head, *(_text(key, ends[key][end] if key in ends else None) for key in keys)])
    print_table(["image", *heads], rows, bold=min(len(images), ROWS))
    if len(images) > ROWS:
        print(f"note     the first {ROWS} of {len(images)} images; --json FILE and evaluation.json have all")
    for key, count in scores.get("undefined", {}).items():
        print(f"note     {key} has no value for {count} of {scores['images']} images, which its mean leaves out")


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, bold: int = -1) -> None:
    """A table on the terminal, with one row set off."""
    from rich.console import Console
    from rich.table import Table

    table = Table(heads[0])
    for head in heads[1:]:
        table.add_column(head, justify="right")
    for number, row in enumerate(rows):
        table.add_row(*row, style="bold" if number == bold else None)
    Console(width=None if sys.stdout.isatty() else max(140, 20 + 12 * len(heads))).print(table)


def write_json(file: Path | None, value: Any) -> None:
    """Write a .json file, if asked for."""
    from rddm.core.files import fresh_file, to_json

    if file is not None:
        with fresh_file(file) as draft:
            draft.write_text(to_json(value, indent=1), encoding="utf-8")


def write_csv(file: Path | None, heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write a .csv file, if asked for; what is None or missing is left empty."""
    from rddm.core.files import fresh_file

    if file is not None:
        with fresh_file(file) as draft, draft.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([heads, *rows])


def write_markdown(file: Path | None, *tables: tuple[Sequence[str], Sequence[Sequence[str]]]) -> None:
    """Write tables to a .md file, if asked for."""
    from rddm.core.files import fresh_file

    if file is None:
        return
    texts = []
    for heads, rows in tables:
        lines = [list(heads), ["---", *["--:"] * (len(heads) - 1)], *rows]
        texts.append(
            "".join(f"| {' | '.join(text.replace('|', chr(92) + '|') for text in line)} |\n" for line in lines)
        )
    with fresh_file(file) as draft:
        draft.write_text("\n".join(texts), encoding="utf-8")


def write_scores(scores: dict[str, Any], json: Path | None, csv: Path | None, markdown: Path | None) -> None:
    """Scores as they are; as a row for each image, the mean and its interval; and as two tables to read."""
    write_json(json, scores)
    names = _names(scores)
    keys = [key for name in names for key in (name, INPUT + name) if key in scores]
    ends = scores.get("ci", {})
    rows = [[image, *(values.get(key) for key in keys)] for image, values in scores["per_image"].items()]
    low, high = ([ends[key][end] if key in ends else None for key in keys] for end in (0, 1))
    means = [["mean", *(scores[key] for key in keys)], [ENDS[0], *low], [ENDS[1], *high]]
    write_csv(csv, ["image", *keys], rows + means)
    figures = [
        [
            name,
            *(_text(key, scores[key]) if key in scores else "" for key in (INPUT + name, name)),
            _interval(name, ends.get(name)),
            str(scores["images"] - scores.get("undefined", {}).get(name, 0)),
        ]
        for name in names
    ]
    images = [[str(row[0]), *(_text(key, value) for key, value in zip(keys, row[1:], strict=True))] for row in rows]
    tables = [(["metric", "input", "output", "95 % interval", "images"], figures)]
    write_markdown(markdown, *tables, *([(["image", *keys], images)] if images else []))


def _names(scores: dict[str, Any]) -> list[str]:
    return [key for key, value in scores.items() if isinstance(value, float) and not key.startswith(INPUT)]


def _head(key: str, scores: dict[str, Any]) -> str:
    return f"{key} out" if INPUT + key in scores else key


def _text(key: str, value: float | None) -> str:
    digits = 2 if any(part in key for part in ("psnr", "mae", "fid")) else 4
    return "" if value is None else f"{value:.{digits}f}"


def _interval(key: str, ends: Sequence[float] | None) -> str:
    return "" if ends is None else f"{_text(key, ends[0])} .. {_text(key, ends[1])}"
