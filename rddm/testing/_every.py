"""What holds for components of every kind."""

from __future__ import annotations

import json
import pickle
import tempfile
import warnings
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError
from ruamel.yaml import YAML

from rddm.core import kinds, registry
from rddm.core.component import Component
from rddm.core.errors import RegistryError, SpecError
from rddm.core.spec import read_table
from rddm.testing._property import Found, holds, require
from rddm.testing._worker import Ended, dumped_elsewhere


def base_of(kind: str) -> Any:
    """The class that opens a kind."""
    return getattr(kinds, kind.capitalize())


@holds("", 'Write name: Literal["..."] = "..." in the class, with the name of its entry point.')
def the_name_is_a_literal_with_itself_as_default(part: Component) -> None:
    """The class declares its name as a literal that is its own default."""
    declared = type(part).model_fields["name"]
    literal = get_args(declared.annotation)
    require(literal == (declared.default,), f"name is {declared.annotation} = {declared.default!r}")


@holds("", "Correct the entry point in pyproject.toml, and install the package again: pip install -e .")
def its_entry_point_leads_to_it(part: Component) -> None:
    """The entry point of that name in the group of the kind leads to the class."""
    group = f"rddm.{part.kind}s"
    if part.name not in registry.names(part.kind):
        target = f"{type(part).__module__}:{type(part).__qualname__}"
        text = (
            f"{part.kind} {part.name!r} cannot be named in a spec yet; write in pyproject.toml, and install it again:"
        )
        warnings.warn(f'{text}\n[project.entry-points."{group}"]\n{part.name} = "{target}"', stacklevel=4)
        return
    try:
        found = registry.load(base_of(part.kind), part.name)
    except RegistryError as error:
        require(False, str(error))
    require(found is type(part), f"{part.name!r} in {group} is {found!r}, and the class tested {type(part)!r}")


@holds("", "Write one below the class line: what it is, its formula, ranges, errors; `rddm show` prints it.")
def the_class_has_a_docstring_of_its_own(part: Component) -> None:
    """The class explains itself in a docstring."""
    text = type(part).__doc__
    require(text and text != base_of(part.kind).__doc__, "none" if not text else "only that of the kind")


@holds("", "Leave model_config alone; what changes belongs in what the methods return, or in `memory`.")
def it_is_frozen_and_refuses_unknown_parameters(part: Component) -> None:
    """Parameters cannot be changed after the component is made, and unknown ones are refused."""
    try:
        part.name = part.name  # type: ignore[misc]
    except ValidationError:
        pass
    else:
        require(False, "its name can be assigned to")
    try:
        type(part)(**part.model_dump() | {"no_such_parameter": 1})
    except SpecError:
        return
    require(False, "a parameter called no_such_parameter is taken without a word")


@holds("", "Take fields of plain types (numbers, texts, tuples, Named[...]); lists and arrays become tuples.")
def it_comes_back_from_python_json_and_yaml(part: Component) -> None:
    """What `model_dump` gives, in Python, JSON or YAML, makes an equal component with an equal hash."""
    cls = type(part)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "part.yaml"
        YAML(typ="safe", pure=True).dump(part.model_dump(mode="json"), file)
        ways = {
            "Python": cls(**part.model_dump()),
            "JSON": cls(**json.loads(json.dumps(part.model_dump(mode="json")))),
            "YAML": cls(**read_table(file)),
        }
    for way, found in ways.items():
        require(found == part, f"through {way}, {part!r} became {found!r}")
        try:
            same = hash(found) == hash(part)
        except TypeError as error:
            require(False, f"it has no hash: {error}")
        require(same, f"through {way}, its hash changed: a field is not hashed by its value")


@holds("", "Take fields that pydantic can describe; Field(description=...) is shown by editors and `rddm show`.")
def it_has_a_json_schema(part: Component) -> None:
    """Its JSON Schema can be made, has its name, and describes every parameter by name."""
    schema = json.loads(json.dumps(type(part).model_json_schema()))
    properties = schema["properties"]
    require(set(properties) == set(type(part).model_fields), f"it describes {sorted(properties)}")
    require(properties["name"].get("const") == part.name, f"its name is {properties['name']}")


@holds("", "Define the class at the top level of a module that can be imported, not in a function or a script.")
def it_reaches_worker_processes(part: Component) -> None:
    """It survives pickling, here and in a process that is started afresh, as workers of data loaders are."""
    pickled = pickled_of(part)
    copy = pickle.loads(pickled)
    require(copy == part, f"{part!r} became {copy!r}")
    module = type(part).__module__
    require(
        module != "__main__", "its class is defined in the program that was started, which no other process imports"
    )
    try:
        there = dumped_elsewhere(pickled)
    except Ended as error:
        raise Found(f"a process that was started afresh, and read it, {error}") from error
    require(there == part.model_dump(mode="json"), f"in a process that is started afresh it became {there}")


def pickled_of(part: object) -> bytes:
    """The pickled object, or what cannot be pickled in it."""
    try:
        return pickle.dumps(part)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise Found(f"it cannot be pickled: {error}") from error
