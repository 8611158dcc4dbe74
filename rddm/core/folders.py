"""Images in folders, matched by name."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from rddm.core import images
from rddm.core.errors import DataError


def by_name(folder: Path, ndim: int = 2) -> dict[str, Path]:
    """The image files in and below a folder, or those of signals or volumes, by their relative paths without suffix.

    Raises:
        DataError: no folder, no images in it, or two of one name.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder} is no folder (working directory: {Path.cwd()}); give a folder of {images.named(ndim)}s"
        )
    files: dict[str, Path] = {}
    for file in images.find(folder, ndim):
        name = file.relative_to(folder).with_suffix("").as_posix()
        if name in files:
            raise DataError(f"{files[name]} and {file} have the same name {name!r}; rename or remove one")
        files[name] = file
    return files


def strangers(what: str, here: Iterable[str], there: Iterable[str]) -> DataError:
    """The error of images of which none has a partner, `what` saying whose: names of both sides, some of them."""
    some, others = (", ".join(islice(names, 3)) for names in (here, there))
    return DataError(
        f"{what}: {some} here, {others} there; images are matched by relative path without suffix: rename them"
    )
