"""Tables of Hugging Face's datasets, in local files."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from rddm.core import arrays, images
from rddm.core.errors import DataError
from rddm.core.kinds import Source
from rddm.sources._files import Decoded, columns_of, first, matching, unique

if TYPE_CHECKING:
    from datasets import Dataset


class Datasets(Source):
    """The rows of a dataset that `save_to_disk` wrote, or of .parquet or .arrow files; nothing is ever fetched.

    The columns `target` and, if there is one, `input` hold encoded images (the feature Image, or bytes), read with all
    their bits, or numbers (Array2D, Array3D, nested lists) as (H, W) or (H, W, C); `columns` names others, by role. An
    example's name is its row's number, or what stands in columns={name: ...}. Needs the package datasets, which
    copies parquet to a cache of its own, HF_HOME.
    """

    name: Literal["datasets"] = "datasets"
    path: str | tuple[str, ...] = Field(
        description="a folder that save_to_disk wrote, or .parquet or .arrow files, with * and ranges such as {00..12}"
    )
    split: str | None = Field(default=None, description="which of several that save_to_disk wrote")
    columns: dict[str, str] = Field(default_factory=dict, description="column by role, such as {target: clean}")
    cache_mb: int = Field(default=0, ge=0, description="MiB of decoded images kept in memory, in each process")

    def __hash__(self) -> int:  # of what can be hashed
        return hash((self.name, self.path))

    def open(self) -> Rows:
        """The rows, unread.

        Raises:
            DataError: datasets is not installed; files are missing or cannot be read; there is no such split, no such
                column, no row; a column holds something else; or names repeat.
        """
        where = self.path if isinstance(self.path, str) else ", ".join(self.path)
        data = self._data(where)
        roles = columns_of(data.column_names, self.columns, where)
        naming = roles.pop("name", None)
        if not len(data):
            raise DataError(f"{where} has no rows")
        names = [f"{number:06d}" for number in range(len(data))]
        if naming:
            names = [str(value) for value in data.select_columns([naming])[:][naming].to_pylist()]
        kinds = {column: data.data.schema.field(column).type for column in roles.values()}
        if odd := [f"{column}: {kind}" for column, kind in kinds.items() if not _holds_images(kind)]:
            raise DataError(f"{where} has columns that hold neither encoded images nor lists of numbers{first(odd)}")
        return Rows(unique(names, where), roles, data, where, self.cache_mb)

    def _data(self, where: str) -> Dataset:
        try:
            import datasets
        except ImportError as cause:
            raise DataError(
                "source 'datasets' needs the package datasets: pip install 'residual-diffusion[datasets]'"
            ) from cause
        files = matching([self.path] if isinstance(self.path, str) else self.path)
        if files[0].suffix not in (".arrow", ".parquet") and not files[0].is_dir():
            raise DataError(f"{files[0]} is neither a folder that save_to_disk wrote, nor .parquet, nor .arrow")
        try:
            if files[0].is_dir():
                found = datasets.load_from_disk(files[0])
            elif files[0].suffix == ".parquet":
                found = datasets.Dataset.from_parquet([str(file) for file in files])
            else:
                found = datasets.concatenate_datasets([datasets.Dataset.from_file(str(file)) for file in files])
        except Exception as cause:  # its readers raise anything
            raise DataError(f"{where} cannot be read by datasets: {cause}") from cause
        splits = sorted(found) if isinstance(found, datasets.DatasetDict) else []
        if (self.split in splits) != bool(splits) or (self.split and not splits):
            raise DataError(f"{where} has the splits {', '.join(splits) or '(none)'}; given split={self.split}")
        return (found[self.split] if splits else found).with_format("arrow")


class Rows(Decoded):
    """Rows of a table, one image in each column."""

    def __init__(
        self, names: Sequence[str], columns: Mapping[str, str], data: Dataset, where: str, cache_mb: int
    ) -> None:
        super().__init__(names, columns, cache_mb)
        self._columns, self._data, self._where = columns, data, where

    def decode(self, index: int, role: str) -> images.Array:
        """The image of a cell."""
        value, where = self._cell(index, role)
        if isinstance(value, io.BytesIO):
            return images.read(where, value)
        try:
            return arrays.image(value)
        except ValueError as cause:
            raise DataError(f"{where}: {cause}") from cause

    def measure(self, index: int, role: str) -> tuple[int, ...]:
        """(height, width), by the header of an encoded image."""
        value, where = self._cell(index, role)
        if isinstance(value, io.BytesIO):
            return images.size(where, value)
        height, width = self.decode(index, role).shape[:2]
        return height, width

    def _cell(self, index: int, role: str) -> tuple[io.BytesIO | images.Array, Path]:
        column = self._columns[role]
        where = Path(f"{self._where}: {column} of row {index}")
        cell = self._data[index][column].chunk(0)
        if not cell.null_count and _holds_images(cell.type) == "numbers":
            return _numbers(cell, where), where
        value, path = cell[0].as_py(), None
        if isinstance(value, dict):
            value, path = value["bytes"], value.get("path")
        try:
            value = Path(path).read_bytes() if value is None and path else value
        except OSError as cause:
            raise DataError(f"{where} names the file {path}, which cannot be read: {cause.strerror}") from cause
        if value is None:
            raise DataError(f"{where} is empty")
        return io.BytesIO(value), where


def _holds_images(kind: Any) -> Literal["numbers", "encoded", ""]:
    import pyarrow.types as of

    kind = getattr(kind, "storage_type", kind)
    if of.is_list(kind) or of.is_large_list(kind) or of.is_fixed_size_list(kind):
        return "numbers"
    image = of.is_struct(kind) and kind.get_field_index("bytes") >= 0
    return "encoded" if image or of.is_binary(kind) or of.is_large_binary(kind) else ""


def _numbers(cell: Any, where: Path) -> images.Array:
    values, shape = getattr(cell, "storage", cell), list[int]()
    while _holds_images(values.type) == "numbers":
        lengths = {len(one) for one in values if one.is_valid}
        if len(lengths) != 1 or values.null_count:
            raise DataError(f"{where} holds lists of the lengths {sorted(lengths)}; rows must have one length")
        shape += lengths
        values = values.flatten()
    if values.null_count:
        raise DataError(f"{where} has gaps: {values.null_count} numbers are missing")
    array: images.Array = np.asarray(values).reshape(shape)
    return array
