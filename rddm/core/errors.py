"""Every error that a user of rddm can cause.

RddmError
├── SpecError            a spec, a parameter or a name in it is wrong      (also a ValueError)
├── RegistryError        a component is unknown, broken, or defined twice  (also a LookupError)
├── MissingPartError     an entity lacks a part that a function needs      (also a LookupError)
├── ShapeError           a tensor has a shape or a value range that does not fit  (also a ValueError)
├── DataError            images or folders are missing, empty, unmatched or unreadable
├── OutputError          a result cannot be written, or would overwrite another
├── CheckpointError      a run or checkpoint is missing, damaged, or belongs to another spec
├── LaunchError          several processes were started in a way that does not train one model
└── TrainingError        training stopped: the loss is not finite
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidationError


SHOWN = 10  # problems in a message: a table of numbers may have thousands


class RddmError(Exception):
    """Base of every error that rddm raises on purpose."""


class RegistryError(RddmError, LookupError):
    """A component that is unknown, broken or defined twice."""


class MissingPartError(RddmError, LookupError):
    """An entity without a part that a function needs."""


class ShapeError(RddmError, ValueError):
    """A tensor whose shape or value range does not fit."""


class DataError(RddmError):
    """Images or folders that are missing, empty, unmatched or unreadable."""


class OutputError(RddmError):
    """A result that cannot be written, or would overwrite another."""


class CheckpointError(RddmError):
    """A run or checkpoint that is missing, damaged, or of another spec."""


class LaunchError(RddmError):
    """Several processes that would not train one model together."""


class TrainingError(RddmError):
    """A training run that cannot go on."""


class SpecError(RddmError, ValueError):
    """A spec that is not valid.

    `problems` holds one `(path, message)` for each thing to mend, `path` as `("sampler", "steps")`.
    """

    def __init__(self, title: str, problems: Iterable[tuple[tuple[int | str, ...], str]]) -> None:
        self.title = title
        self.problems = tuple(problems)
        super().__init__(title, self.problems)

    def __str__(self) -> str:
        shown, more = self.problems[:SHOWN], len(self.problems) - SHOWN
        lines = [f"  {'.'.join(map(str, path)) or self.title}: {message}" for path, message in shown]
        return "\n".join([f"{self.title} is not valid:", *lines, *([f"  and {more} more"] if more > 0 else [])])

    @classmethod
    def from_pydantic(cls, error: ValidationError, fields: Iterable[str]) -> SpecError:
        """The same problems, nested ones unfolded, in words that say what to type."""
        return cls(error.title, _problems(error, list(fields)))


def _problems(error: ValidationError, fields: list[str]) -> Iterable[tuple[tuple[int | str, ...], str]]:
    for item in error.errors(include_url=False):
        path: tuple[int | str, ...] = item["loc"]
        inner = item.get("ctx", {}).get("error")
        if item["type"] == "default_factory_not_called":  # for another key's problem, which is listed
            continue
        if isinstance(inner, SpecError):
            yield from ((path + below, message) for below, message in inner.problems)
        elif isinstance(inner, RddmError):
            yield path, str(inner)
        elif item["type"] == "extra_forbidden":
            known = fields if len(path) == 1 else []
            yield path, f"unknown key{suggest(str(path[-1]), known)}"
        elif item["type"] == "missing":
            yield path, "is required, but not given"
        else:
            yield path, f"{item['msg'].removeprefix('Value error, ')}; given {_short(item['input'])}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def suggest(given: str, known: Iterable[str]) -> str:
    """The end of an "unknown ..." message: the nearest known name, and all of them."""
    names = sorted(known)
    if not names:
        return ""
    near = get_close_matches(given, names, n=1)
    return (f"; did you mean {near[0]!r}?" if near else ";") + f" known: {', '.join(names)}"
