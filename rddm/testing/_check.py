"""Every property of a kind in one call."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from typing import Any

from rddm.core import registry
from rddm.core.blame import line_of, line_of_class
from rddm.core.component import Component
from rddm.core.errors import suggest
from rddm.testing._property import PROPERTIES, Found, Property

#: The modules whose properties are registered as they are imported.
MODULES = ("every", "schedules", "samplers", "solvers", "ways", "backbones", "tasks", "data", "metrics")


class ContractError(AssertionError):
    """A component does not keep its kind's contract: what was found, what the contract says, what to change."""


def contract(kind: str) -> tuple[Property, ...]:
    """The properties of a kind, those of every component first; `name`, `sentence`, `mend` and `options` of each.

    Raises:
        RegistryError: there is no such kind.
    """
    registry.entries(kind)
    for module in MODULES:
        import_module(f"rddm.testing._{module}")
    return tuple(one for one in PROPERTIES if one.kind == "") + tuple(one for one in PROPERTIES if one.kind == kind)


def check(component: Component, *, leave_out: str | Collection[str] = (), **options: Any) -> tuple[Property, ...]:
    """Test every property of the component's kind, and give those that were tested.

    Args:
        component: an instance, as small as it can be made, for speed.
        leave_out: names of properties that are not meant to hold, or one name, as a failure names them.
        options: of the properties, such as examples=100, order=2 for solvers, record=... for tasks; `contract(kind)`
            lists them with their defaults. Each goes to every property that has an option of that name.

    Raises:
        ContractError: naming each property that does not hold, what was found, and what to change.
        TypeError: what is given is no instance of a component, or no property has such a name or option.
    """
    if not isinstance(component, Component):
        example = f"check({component.__name__}())" if isinstance(component, type) else "check(Mine(parameter=1))"
        raise TypeError(f"check takes an instance of a component, such as {example}; given {component!r}")
    properties = contract(component.kind)
    known = {key for one in properties for key in one.options}
    if unknown := [key for key in options if key not in known]:
        raise TypeError(f"no property of a {component.kind} has the option {unknown[0]!r}{suggest(unknown[0], known)}")
    names = {one.name for one in properties}
    leave_out = (leave_out,) if isinstance(leave_out, str) else leave_out
    if unknown := [name for name in leave_out if name not in names]:
        raise TypeError(f"no property of a {component.kind} is called {unknown[0]!r}{suggest(unknown[0], names)}")
    chosen = tuple(one for one in properties if one.name not in leave_out)
    broken: list[tuple[Property, Exception]] = []
    for one in chosen:
        try:
            one.test(component, **{key: value for key, value in options.items() if key in one.options})
        except Exception as error:  # a plugin can raise anything
            if isinstance(error, Warning):
                raise
            broken.append((one, error))
    if broken:
        raise ContractError(_told(component, broken, len(chosen))) from broken[0][1]
    return chosen


def _told(component: Component, broken: list[tuple[Property, Exception]], count: int) -> str:
    cls = type(component)
    head = f"{component.kind} {component.name!r} ({line_of_class(cls)}) breaks {len(broken)} of {count} properties:"
    parts = []
    for number, (one, error) in enumerate(broken, start=1):
        if isinstance(error, Found):
            found = str(error)
        else:
            where = line_of(error, cls.__module__.partition(".")[0])
            found = f"{type(error).__name__}: {error}" + (f", in {where}" if where else "")
        case = "".join(f"\n   case: {' '.join(note.split())}" for note in getattr(error, "__notes__", ()))
        parts.append(f"{number}. {one.name}\n   says: {one.sentence}\n   found: {found}{case}\n   mend: {one.mend}")
    end = "What is not meant to hold can be left out by name: check(..., leave_out=[...])."
    return "\n\n".join([head, *parts, end])
