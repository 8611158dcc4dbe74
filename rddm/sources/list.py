"""Image files that a table names."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Literal

from pydantic import Field

from rddm.core.errors import DataError
from rddm.core.kinds import Source
from rddm.sources._files import ImageFiles, columns_of, first


class FileList(Source):
    """The image files that the rows of a CSV file name, under a header; one row is one example.

    The columns `target` and, if there is one, `input` hold their paths, relative to the folder of the CSV file or to
    `root`; `columns` names others, by role, and further roles such as a mask. An example's name is in the column
    `name` (or columns={name: ...}), else it is its target's path without suffix. `where` keeps the rows of a split.
    """

    name: Literal["list"] = "list"
    path: Path = Field(description="the CSV file: UTF-8, commas, paths with commas or quotes in double quotes")
    root: Path | None = Field(default=None, description="folder that paths start from; that of the CSV file by default")
    columns: dict[str, str] = Field(default_factory=dict, description="column by role, such as {target: clean}")
    where: dict[str, str] = Field(default_factory=dict, description="rows to keep, such as {split: train}")
    ndim: Literal[1, 2, 3] = Field(default=2, description="1 for signals, 3 for volumes, each a .npy file")
    cache_mb: int = Field(default=1024, ge=0, description="MiB of decoded images kept in memory, in each process")

    def __hash__(self) -> int:  # of what can be hashed
        return hash((self.name, self.path))

    def open(self) -> ImageFiles:
        """The examples, unread.

        Raises:
            DataError: the file cannot be read as CSV, columns or image files are missing, a row has too few or too
                many fields, two have one name, or none is left.
        """
        file = Path(os.path.expanduser(self.path)).absolute()
        root = file.parent if self.root is None else Path(os.path.expanduser(self.root)).absolute()
        try:
            with file.open(encoding="utf-8-sig", newline="") as opened:
                reader = csv.reader(opened, strict=True)
                header = next(reader, [])
                lines = [(reader.line_num, fields) for fields in reader if fields]
        except (OSError, UnicodeDecodeError, csv.Error) as cause:
            raise DataError(f"{self.path} cannot be read as CSV (looked for {file}): {cause}") from cause
        if len(set(header)) < len(header):
            raise DataError(f"{self.path} names a column twice: {', '.join(header)}")
        own = {"name": "name"} if "name" in header else {}
        roles = columns_of(header, own | self.columns, str(self.path), also=self.where)
        if odd := [line for line, fields in lines if len(fields) != len(header)]:
            raise DataError(
                f"{self.path} has {len(header)} columns, and another number of fields in {len(odd)} lines"
                f"{first([f'line {line}' for line in odd])}; put paths with commas in double quotes"
            )
        table = [(line, dict(zip(header, fields, strict=True))) for line, fields in lines]
        rows = [both for both in table if all(both[1][column] == value for column, value in self.where.items())]
        if not rows:
            raise DataError(f"{self.path} has {len(table)} rows below its header, and none where {self.where}")
        naming = roles.pop("name", None)
        files = [{role: root / row[column] for role, column in roles.items()} for _, row in rows]
        names = [
            row[naming] if naming else Path(os.path.relpath(one["target"], root)).with_suffix("").as_posix()
            for (_, row), one in zip(rows, files, strict=True)
        ]
        numbers: dict[str, int] = {}
        for (line, _), name in zip(rows, names, strict=True):
            if numbers.setdefault(name, line) != line:
                raise DataError(
                    f"{self.path}: lines {numbers[name]} and {line} have one name, {name!r}; remove one,"
                    " or add a column `name`"
                )
        missing = [
            f"line {line}: {row[column] or 'an empty ' + column}"
            for (line, row), one in zip(rows, files, strict=True)
            for role, column in roles.items()
            if not row[column] or not one[role].is_file()
        ]
        if missing:
            raise DataError(f"{len(missing)} image files of {self.path} are not in {root}{first(missing)}")
        return ImageFiles(names, files, self.cache_mb, self.ndim)
