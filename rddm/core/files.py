"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from rddm.core.errors import OutputError


@contextmanager
def fresh_folder(folder: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder beside `folder`, renamed to it when the block ends well and removed when it does not.

    Raises:
        OutputError: `folder` is there already and `overwrite` is not set, or the disk does not take it.
    """
    if folder.exists() and not overwrite:
        raise OutputError(f"{folder} exists already; choose another name, or allow overwriting")
    temporary = folder.parent / f".{folder.name}.{uuid4().hex[:8]}.tmp"
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if folder.exists():
            folder.rename(old := temporary.with_suffix(".old"))
            temporary.rename(folder)
            shutil.rmtree(old)
        else:
            temporary.rename(folder)
    except OSError as cause:
        raise OutputError(f"{folder} cannot be written: {cause.strerror or cause}") from cause
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def fresh_file(file: Path) -> Iterator[Path]:
    """A temporary name beside `file`, of the same suffix, renamed to it when the block ends well.

    Raises:
        OutputError: the disk does not take it.
    """
    temporary = file.with_name(f".{file.stem}.{uuid4().hex[:8]}{file.suffix}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, file)
    except OSError as cause:
        raise OutputError(f"{file} cannot be written: {cause.strerror or cause}") from cause
    finally:
        with suppress(OSError):
            temporary.unlink()


def to_json(value: Any, indent: int | None = None) -> str:
    """Strict JSON: numbers that JSON does not know (NaN, infinity) become null."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
