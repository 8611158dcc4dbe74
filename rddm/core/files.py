"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from rddm.core.errors import OutputError

#: Everything that a model folder or a run folder may hold; a folder with anything else in it is never replaced.
OURS = re.compile(
    r"spec\.yaml|model\.safetensors|state\.pt|metrics\.jsonl|selection\.jsonl|evaluation\.json|samples|checkpoints"
    r"|tensorboard|\.lock"
    r"|\.(spec|model|metrics|selection|evaluation)\.[0-9a-f]{8}\.\w+"  # what a killed process leaves of `fresh_file`
)


def check_ours(folder: Path, ours: re.Pattern[str] = OURS) -> None:
    """Refuse to replace a folder with other names in it than those of `ours`. Raises OutputError, with some of them."""
    if not folder.is_dir():
        raise OutputError(f"{folder} is no folder; choose another name")
    if foreign := sorted(path.name for path in folder.iterdir() if not ours.fullmatch(path.name)):
        raise OutputError(
            f"{folder} is not overwritten, because it holds what rddm did not write: {', '.join(foreign[:5])};"
            " move that away, or choose another name"
        )


@contextmanager
def fresh_folder(folder: Path, *, overwrite: bool = False, ours: re.Pattern[str] = OURS) -> Iterator[Path]:
    """A temporary folder beside `folder`, renamed to it when the block ends well and removed when it does not.

    Raises:
        OutputError: `folder` is there already and `overwrite` is not set or it holds other things than rddm's own,
            or the disk does not take it.
    """
    if folder.exists():
        if not overwrite:
            raise OutputError(f"{folder} exists; choose another name, or add --overwrite (overwrite=True)")
        check_ours(folder, ours)
    temporary = folder.parent / f".{folder.name}.{uuid4().hex[:8]}.tmp"
    try:
        temporary.mkdir(parents=True)
        yield temporary
        old = temporary.with_suffix(".old")
        replaces = folder.exists()
        if replaces:
            folder.rename(old)
        try:
            temporary.rename(folder)
        except OSError:
            if replaces:
                old.rename(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
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
