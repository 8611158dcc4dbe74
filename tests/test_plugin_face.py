"""`rddm.plugin`, the face that is promised to plugins: complete, small, documented, and the same thing as in core."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rddm
from rddm import plugin, testing
from rddm.core import kinds, registry

ROOT = Path(rddm.__file__).parent
DOCS = (ROOT.parent / "docs" / "plugins.md").read_text(encoding="utf-8")
#: What built-in components use beside it, and a plugin does without: how files beyond Pillow's are read.
BESIDE = {("rddm.core", "arrays")}


def used_by_components() -> set[tuple[str, str]]:
    """(module, name) of all that the built-in components import from core."""
    files = [file for kind in registry.KINDS for file in (ROOT / f"{kind}s").glob("*.py")]
    found = [node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    return {
        (node.module, alias.name)
        for node in found
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rddm.core")
        for alias in node.names
    }


def test_whatever_built_in_components_are_written_with_is_there_for_plugins():
    used = used_by_components() - BESIDE
    assert len(used) > 30
    for module, name in used:
        offered = plugin.images if module == "rddm.core.images" else plugin
        assert hasattr(offered, name), f"{module}.{name}"


def test_it_has_every_kind_and_all_that_opens_one():
    for kind in registry.KINDS:
        assert getattr(plugin, kind.capitalize()) is getattr(kinds, kind.capitalize())
    assert {name for name in kinds.__all__ if not hasattr(plugin, name)} <= {"check_metrics"}  # which core calls


def test_its_names_are_sorted_there_and_nothing_else_is():
    assert sorted(plugin.__all__, key=lambda name: (not name.isupper(), name)) == plugin.__all__
    public = {name for name, value in vars(plugin).items() if not name.startswith("_") and name != "annotations"}
    assert public == set(plugin.__all__)


def test_everything_that_can_be_called_or_derived_from_is_documented():
    for name in plugin.__all__:
        value = getattr(plugin, name)
        if inspect.isclass(value) or inspect.isfunction(value) or inspect.ismodule(value):
            assert value.__doc__, name


def test_the_page_lists_exactly_what_is_promised():
    (listed,) = re.findall(r"<!-- names -->\n(.*?)<!-- end -->", DOCS, re.S)
    assert sorted(re.findall(r"`(\w+)`", listed)) == sorted(plugin.__all__)
    assert all(f"`{name}`" in DOCS for name in testing.__all__)


@pytest.mark.parametrize("kind", registry.KINDS)
def test_the_page_of_a_kind_says_every_property_that_check_tests_word_for_word(kind):
    (section,) = re.findall(rf"^### {kind.capitalize()}\n(.*?)(?=^##)", DOCS, re.S | re.M)
    for one in testing.contract(kind):
        text = section if one.kind else DOCS
        assert f"* {one.sentence}\n" in text, f"{one.name}: {one.sentence}"


@pytest.mark.parametrize("kind", registry.KINDS)
def test_the_page_of_a_kind_names_every_method_and_class_variable_of_its_own(kind):
    (section,) = re.findall(rf"^### {kind.capitalize()}\n(.*?)(?=^##)", DOCS, re.S | re.M)
    base = getattr(kinds, kind.capitalize())
    bases = [cls for cls in vars(kinds).values() if inspect.isclass(cls) and issubclass(cls, base) and cls is not base]
    for cls in (base, *bases):
        members = {name for name in vars(cls) if not name.startswith(("_", "model_"))} | set(cls.__annotations__)
        for member in members - {"kind", "name"}:
            assert f"`{member}" in section, f"{cls.__name__}.{member}"


@pytest.mark.parametrize("text", re.findall(r"```python\n(.*?)```", DOCS, re.S))
def test_python_on_the_page_is_python(text):
    compile(text, "docs/plugins.md", "exec")


def test_without_hypothesis_a_message_says_what_to_install():
    code = "import sys; sys.modules['hypothesis'] = None; import rddm.plugin; import rddm.testing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: rddm.testing draws its cases with hypothesis;"
        " type: pip install 'residual-diffusion[testing]'"
    )
