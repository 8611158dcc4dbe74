"""What a page compares: columns of images, matched by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rddm.core.errors import DataError
from rddm.core.folders import by_name, strangers


@dataclass(frozen=True)
class Column:
    """The image files of an input, a method or a target, by the name of the image."""

    name: str
    role: Literal["input", "method", "target"]
    files: Mapping[str, Path]
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # known beforehand, by image


def folder(path: Path, role: Literal["input", "method", "target"], name: str = "") -> Column:
    """The images in and below a folder, named by their relative paths without suffix; the column after the folder.

    Raises:
        DataError: no folder, no images in it, or two of one name.
    """
    return Column(name or path.resolve().name, role, by_name(path))


def check(columns: list[Column]) -> None:
    """Refuse columns of one name, and columns that have no image in common with the methods.

    Raises:
        DataError: naming the columns, and some of their images.
    """
    seen: set[str] = set()
    for column in columns:
        if column.name in seen:
            raise DataError(f"two columns are called {column.name!r}; give other names, as NAME=DIR")
        seen.add(column.name)
    first = next(column for column in columns if column.role == "method")
    for column in columns:
        others = {name for other in columns if other is not column and other.role == "method" for name in other.files}
        if others and not others & column.files.keys():
            there = sorted(others) if column is first else first.files
            raise strangers(f"no image of {column.name!r} has the name of one of a method", column.files, there)
