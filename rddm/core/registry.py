"""Components by name, from the entry points of every installed distribution.

Finding imports nothing; loading imports the one module that holds the component. A distribution whose metadata
cannot be read, or whose component is broken, never hinders another: its problem is reported where it is asked for.
"""

from __future__ import annotations

import configparser
import re
import sys
import traceback
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import entrypoints

from rddm.core.blame import line_of, line_of_class
from rddm.core.errors import RegistryError, suggest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rddm.core.component import Component

    C = TypeVar("C", bound=Component)

#: Every kind that can be extended; its entry points are in the group `rddm.<kind>s`.
KINDS = (
    "backbone",
    "degradation",
    "grid",
    "mask",
    "metric",
    "route",
    "sampler",
    "schedule",
    "solver",
    "source",
    "task",
)
OWN = "residual-diffusion"  # the distribution of the built-ins


@dataclass(frozen=True, order=True)
class Entry:
    """One entry point: where the component `name` of a kind comes from."""

    kind: str
    name: str
    target: str  # "module:attribute"
    distribution: str
    version: str

    @property
    def package(self) -> str:
        """The top-level package that its code is in."""
        return re.split(r"[.:]", self.target, maxsplit=1)[0].strip()

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} of {self.distribution} {self.version} ({self.target})"


def entries(kind: str) -> tuple[Entry, ...]:
    """The entry points of a kind, sorted by name; duplicates included. Imports no component."""
    if kind not in KINDS:
        raise RegistryError(f"unknown kind {kind!r}{suggest(kind, KINDS)}")
    return tuple(entry for entry in _scan(tuple(sys.path)) if entry.kind == kind)


def names(kind: str) -> list[str]:
    """The names of a kind, sorted."""
    return sorted({entry.name for entry in entries(kind)})


def load(base: type[C], name: str) -> type[C]:
    """The component class `name` of the kind that `base` opens.

    Raises:
        RegistryError: the name is unknown or defined twice, or its module cannot be imported, or what it names
            is no such component; the message says which distribution, and what to mend.
    """
    found = [entry for entry in entries(base.kind) if entry.name == name]
    if not found:
        raise RegistryError(
            f"unknown {base.kind} {name!r}{suggest(name, names(base.kind))}"
            " (after adding an entry point, install its package again)"
        )
    if len(found) > 1:
        raise RegistryError(
            f"{base.kind} {name!r} is defined {len(found)} times: {'; '.join(map(str, found))}."
            " Uninstall one of them, or rename its entry point"
        )
    return _load(base, found[0])


def refresh() -> None:
    """Forget what was found, so that packages installed meanwhile are seen."""
    _scan.cache_clear()


def blamed(error: BaseException) -> str:
    """The distribution and the line, FILE:LINE, of the last plugin whose code an error came through; "" if of none."""
    packages = {entry.package: entry for kind in KINDS for entry in entries(kind) if entry.distribution != OWN}
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        entry = packages.get(str(frame.f_globals.get("__name__", "")).partition(".")[0])
        if entry is not None:
            return f"{entry.distribution} {entry.version}, {line_of(error, entry.package)}"
    return ""


def _load(base: type[C], entry: Entry) -> type[C]:
    try:
        found: object = entrypoints.EntryPoint.from_string(entry.target, entry.name).load()
    except (Exception, SystemExit) as cause:  # a plugin's import can raise anything
        where = line_of(cause, entry.package)
        mend = f", in {where}" if where else "; mend its entry point in pyproject.toml, and install it again"
        raise RegistryError(f"{entry} cannot be loaded: {type(cause).__name__}: {cause}{mend}") from cause
    if not (isinstance(found, type) and issubclass(found, base)):
        where = f", in {line_of_class(found)}" if isinstance(found, type) else ""
        raise RegistryError(f"{entry} is {found!r}, not a class derived from rddm.plugin.{base.__name__}{where}")
    if missing := sorted(found.__abstractmethods__):
        must = f"which every {base.kind} must define; in {line_of_class(found)}"
        raise RegistryError(f"{entry} lacks {', '.join(missing)}, {must}")
    declared = found.model_fields["name"].default
    if declared != entry.name:
        given = f"declares the name {declared!r}" if isinstance(declared, str) else "declares no name"
        raise RegistryError(
            f'{entry} {given}; write name: Literal["{entry.name}"] = "{entry.name}"'
            f" in the class, {line_of_class(found)}, or rename the entry point"
        )
    return found


@lru_cache(maxsize=8)
def _scan(path: tuple[str, ...]) -> tuple[Entry, ...]:
    # One distribution at a time: `entrypoints` gives up on the whole path at the first file it cannot parse.
    found: list[Entry] = []
    seen: set[str] = set()
    for folder in path:
        for file in _entry_point_files(folder or "."):
            distribution, _, version = file.parent.stem.partition("-")
            distribution = re.sub(r"[-_.]+", "-", distribution).lower()
            if distribution not in seen:  # else shadowed by an earlier path entry, as for imports
                seen.add(distribution)
                found.extend(_read(file, distribution, version or "?"))
    return tuple(sorted(found))


def _entry_point_files(folder: str) -> list[Path]:
    try:
        return sorted(p / "entry_points.txt" for p in Path(folder).iterdir() if p.suffix in (".dist-info", ".egg-info"))
    except OSError:  # a path entry that is missing, a file, or unreadable
        return []


def _read(file: Path, distribution: str, version: str) -> Iterator[Entry]:
    try:
        raw = file.read_bytes()
    except OSError:  # most distributions have no entry points
        return
    if b"rddm." not in raw:
        return
    parser = entrypoints.CaseSensitiveConfigParser(delimiters=("=",), interpolation=None)
    try:
        parser.read_string(raw.decode("utf-8"))
    except (configparser.Error, UnicodeDecodeError) as cause:
        warnings.warn(f"{distribution} {version}: {file} cannot be read and is ignored: {cause}", stacklevel=2)
        return
    for kind in KINDS:
        if parser.has_section(f"rddm.{kind}s"):
            for name, target in parser.items(f"rddm.{kind}s"):
                yield Entry(kind, name, target, distribution, version)
