"""The shape of the code: imports form a DAG, the public face is what it says, files stay small."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import rddm
from rddm.core import registry

ROOT = Path(rddm.__file__).parent

#: Layers from the bottom up; a module imports from layers below its own only (importing a sibling is a mistake, too).
LAYERS = [
    ["core.errors", "core.light"],
    ["core.process", "core.component", "core.files", "core.arrays", "core.blame", "core.draws", "core.embedding"],
    ["core.registry", "core.encode", "core.heads"],
    ["core.images"],
    ["core.named", "core.folders"],
    ["core.kinds.sampling", "core.kinds.network", "core.kinds.data", "core.kinds.metric"],
    ["core.kinds.task"],
    ["core.kinds"],
    ["plugin"],
    ["core.entity", "core.spec", "core.network", "core.extras", "core.metrics"],
    ["core.data", "core.checkpoint", "core.log", "core.schema", "core.systems.launch"],
    ["core.systems.tiles"],
    ["core.systems.trajectory"],
    ["core.systems.sample"],
    ["core.systems.evaluate", "core.systems.dependence", "core.systems.profile", "core.systems.restore_files"],
    ["core.systems.evaluate_files"],
    ["core.pictures", "core.systems.train", "core.systems.check"],
    ["core.systems.select"],
    ["core.systems.fit"],
    ["core.trainer"],
    ["demo"],
    ["testing._property", "testing._worker"],
    ["testing.strategies"],
    ["testing._laws", "testing._gaussian", "testing._every"],
    ["testing._schedules", "testing._samplers", "testing._solvers", "testing._backbones"],
    ["testing._tasks", "testing._data", "testing._metrics", "testing._ways"],
    ["testing._check"],
    ["testing"],
    ["report.columns", "report.curves", "report.difference"],
    ["report.page", "report.runs"],
    ["plots.figure"],
    ["plots.schedule", "plots.route", "plots.trajectory"],
    ["convert.report", "convert._reference_schedule", "convert._reference_unet"],
    ["convert.reference", "convert.diffusers", "convert.scheduler"],
    ["convert"],
    [""],
    ["scaffold.package"],
    ["cli._app"],
    ["cli._output"],
    ["cli.models", "cli.parts", "cli.plot", "cli.convert", "cli.report", "cli.eval", "cli.bench", "cli.demo"],
    ["cli.new_plugin"],
    ["cli"],
    ["__main__"],
]
#: What a component may use of core; nothing else of rddm but its own package's private modules.
FOR_COMPONENTS = {
    "core.component",
    "core.kinds",
    "core.process",
    "core.heads",
    "core.errors",
    "core.named",
    "core.images",
    "core.folders",
    "core.arrays",
    "core.draws",
    "core.embedding",
    "core.light",
}
PACKAGES = [f"{kind}s" for kind in registry.KINDS]


def modules():
    for file in sorted(ROOT.rglob("*.py")):
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").removesuffix(".")
        yield name, file


def imports(file):
    """Modules of rddm that a file imports when it is imported itself: not for type checking, not in functions."""
    known = {name for name, _ in modules()}

    def visit(nodes):
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "rddm":
                inner = node.module.removeprefix("rddm").removeprefix(".")
                for alias in node.names:
                    whole = f"{inner}.{alias.name}".removeprefix(".")
                    yield whole if whole in known else inner
            elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                yield from visit(node.orelse)
            elif isinstance(node, ast.If | ast.Try | ast.With):
                yield from visit(ast.iter_child_nodes(node))

    yield from visit(ast.parse(file.read_text()).body)


def test_imports_of_core_go_down_the_layers():
    level = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    for name, file in modules():
        if name.split(".")[0] in PACKAGES or not file.read_text().strip():
            continue
        if name in ("core", "core.systems"):
            assert not list(imports(file))
            continue
        assert name in level, f"{name} has no layer; give it one in LAYERS"
        for other in imports(file):
            assert level[other] < level[name], f"{name} imports {other}, which is not below it"


def test_components_use_the_kinds_and_the_process_and_core_uses_no_component():
    for name, file in modules():
        package = name.split(".")[0]
        for other in imports(file):
            if package in PACKAGES:
                own = other.startswith(f"{package}._")
                assert own or other in FOR_COMPONENTS, f"{name} imports {other}"
            else:
                assert other.split(".")[0] not in PACKAGES, f"{name} imports {other}"


def test_the_public_names_are_sorted_and_all_there():
    assert rddm.__all__ == sorted(rddm.__all__, key=lambda name: (not name.isupper(), name))
    for name in rddm.__all__:
        assert inspect.getdoc(getattr(rddm, name)), name
    assert set(dir(rddm)) == {*rddm.__all__, "__version__"}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        rddm.nothing  # noqa: B018


def test_every_error_has_one_root_and_is_drawn_in_the_tree():
    from rddm.core import errors

    found = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
    assert all(issubclass(error, rddm.RddmError) for error in found)
    for error in found:
        assert error.__name__ in errors.__doc__
        assert error.__name__ in rddm.__all__


def test_every_public_function_and_class_has_a_docstring():
    for name, file in modules():
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{name}.{node.name}"


def test_no_file_is_longer_than_300_lines():
    assert [name for name, file in modules() if len(file.read_text().splitlines()) > 300] == []
