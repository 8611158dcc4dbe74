"""The JSON Schema of a spec, for editors that complete and check YAML."""

from __future__ import annotations

from typing import Any, cast

from rddm.core import kinds, registry
from rddm.core.errors import RegistryError
from rddm.core.spec import Spec


def spec_schema() -> dict[str, Any]:
    """The schema with one definition for each kind: a name, or the table of any component that is installed.

    A broken plugin is left out.
    """
    schema = Spec.model_json_schema(ref_template="#/$defs/{model}")
    definitions = schema.setdefault("$defs", {})
    for kind in registry.KINDS:
        base: Any = getattr(kinds, kind.capitalize())
        tables = []
        for name in registry.names(kind):
            try:
                table = registry.load(base, name).model_json_schema(ref_template="#/$defs/{model}")
            except RegistryError:
                continue
            definitions.update(table.pop("$defs", {}))
            tables.append({**table, "required": sorted({"name", *table.get("required", [])})})
        definitions[kind] = {"anyOf": [{"type": "string", "description": f"the name of a {kind}"}, *tables]}
    return cast("dict[str, Any]", _linked(schema))


def _linked(part: Any) -> Any:
    if isinstance(part, dict):
        linked = {key: _linked(value) for key, value in part.items() if key != "x-kind"}
        return linked | {"$ref": f"#/$defs/{part['x-kind']}"} if "x-kind" in part else linked
    return [_linked(item) for item in part] if isinstance(part, list) else part
