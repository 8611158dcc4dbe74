"""An assembled model or run: a typed map from a kind of part to the part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Self, TypeVar, cast

from rddm.core.component import Component
from rddm.core.errors import MissingPartError

P = TypeVar("P")


class Entity:
    """Parts by kind: `entity[Schedule]` is its schedule, `entity[Network]` its network.

    A component's key is the class that opens its kind, any other part's key is its own class. `replace` gives a
    new entity that shares every other part, networks and their weights included.
    """

    def __init__(self, parts: Iterable[object]) -> None:
        self._parts = {_key(part): part for part in parts}

    def __getitem__(self, kind: type[P]) -> P:
        try:
            return cast("P", self._parts[kind])
        except KeyError:
            have = ", ".join(sorted(key.__name__ for key in self._parts))
            wanted = getattr(kind, "__name__", kind)
            raise MissingPartError(f"this needs a {wanted}, which the entity lacks; it has: {have}") from None

    def get(self, kind: type[P]) -> P | None:
        """The part, or None where it is optional and absent."""
        return cast("P | None", self._parts.get(kind))

    def __iter__(self) -> Iterator[object]:
        return iter(self._parts.values())

    def replace(self, *parts: object) -> Self:
        """A new entity with these parts in place of those of their kinds, or beside the others."""
        new = object.__new__(type(self))
        new._parts = self._parts | {_key(part): part for part in parts}
        return new

    def put(self, *parts: object) -> None:
        """Put these parts in place of those of their kinds in this entity itself; what training finds out goes here."""
        self._parts |= {_key(part): part for part in parts}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(sorted(key.__name__ for key in self._parts))})"


def _key(part: object) -> type:
    for base in type(part).__mro__:
        if issubclass(base, Component) and "kind" in vars(base):
            return base
    return type(part)
