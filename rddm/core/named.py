"""A field that holds a component: given as an instance, a name, or a table with a `name`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from rddm.core import registry
from rddm.core.errors import RegistryError, SpecError

if TYPE_CHECKING:
    from rddm.core.component import Component

T = TypeVar("T")
C = TypeVar("C", bound="Component")


class _ByName:
    # Resolved when a value is validated, not when the class is made: only the named module is imported,
    # and a plugin that is installed later is found.

    def __get_pydantic_core_schema__(self, base: type[Component], handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: resolve(base, value),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda part, info: part.model_dump(mode=info.mode), info_arg=True
            ),
            metadata={"kind": base.kind},
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"x-kind": schema["metadata"]["kind"]}  # completed by rddm.core.schema with what is installed


#: `Named[Schedule]` is a `Schedule` to type checkers, and takes `"power"` or `{"name": "power", ...}` too.
Named = Annotated[T, _ByName()]


def resolve(base: type[C], value: object) -> C:
    """The component that `value` stands for: an instance of `base`, a name, or a table with a `name`.

    Raises:
        SpecError: the name is unknown, its component is broken, the table's other keys do not fit the component,
            or `value` is none of the three.
    """
    if isinstance(value, base):
        return value
    table = base.shorthand(value)
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        known = ", ".join(registry.names(base.kind))
        message = f'must be a name ({known}) or a table {{"name": ..., its parameters}}; given {value!r}'
        raise SpecError(base.kind, [((), message)])
    try:
        component = registry.load(base, table["name"])
    except RegistryError as error:
        raise SpecError(base.kind, [((), str(error))]) from error
    return component(**table)
