"""Tables of numbers from files."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from rddm.core.errors import SpecError

#: Columns of a .npy array, which has no names, by how many there are.
COLUMNS = {2: ("abar", "bbar"), 3: ("A", "B", "C"), 4: ("A", "B", "C", "F")}


def read(file: Path) -> dict[str, Any]:
    """The columns of a .csv file with a header, a .json object, a .npz archive or a .npy array, by name.

    Raises:
        SpecError: the file is missing, of another kind, or not readable as such.
    """
    readers = {".csv": _csv, ".json": _json, ".npz": _npz, ".npy": _npy}
    if file.suffix not in readers:
        raise _bad_file(f"must be one of {', '.join(readers)}; given {file.name!r}")
    try:
        return readers[file.suffix](file)
    except OSError as error:
        raise _bad_file(f"{file.absolute()} cannot be read: {error.strerror or error}") from error
    except (ValueError, csv.Error, zipfile.BadZipFile) as error:
        raise _bad_file(f"{file} is no {file.suffix} table: {error}") from error


def _bad_file(message: str) -> SpecError:
    return SpecError("table", [(("file",), message)])


def _csv(file: Path) -> dict[str, Any]:
    with file.open(newline="", encoding="utf-8-sig") as lines:
        header, *rows = [[cell.strip() for cell in row] for row in csv.reader(lines) if row] or [[]]
    short = [line for line, row in enumerate(rows) if len(row) != len(header)]
    if short:
        raise ValueError(f"row {short[0]} has {len(rows[short[0]])} cells, but the header {len(header)}")
    return {key: [row[i] for row in rows] for i, key in enumerate(header)}


def _json(file: Path) -> dict[str, Any]:
    table = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(table, dict):
        raise ValueError(f"it must hold an object of columns, but holds a {type(table).__name__}")
    return table


def _npz(file: Path) -> dict[str, Any]:
    with np.load(file, allow_pickle=False) as archive:
        return {key: archive[key].tolist() for key in archive}


def _npy(file: Path) -> dict[str, Any]:
    array = np.load(file, allow_pickle=False)
    if array.ndim != 2 or array.shape[1] not in COLUMNS:
        raise ValueError(f"it must be of T + 1 rows of (abar, bbar), (A, B, C) or (A, B, C, F); given {array.shape}")
    return {key: array[:, i].tolist() for i, key in enumerate(COLUMNS[array.shape[1]])}
