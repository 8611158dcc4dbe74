"""The plugins beside core: core knows none of them, and each can be taken away."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import rddm
from rddm.core import registry

PLUGINS = sorted((Path(__file__).parents[1] / "plugins").glob("*/pyproject.toml"))
PACKAGES = {file.parent.name: file.parent.name.replace("-", "_") for file in PLUGINS}

#: Loads every component but those of the distribution in argv[1], whose package cannot be imported either.
WITHOUT = """
import json, sys
from rddm.core import kinds, registry
gone, package = sys.argv[1:]
sys.modules[package] = None
read = registry._read
registry._read = lambda file, distribution, version: () if distribution == gone else read(file, distribution, version)
print(json.dumps({
    kind: [registry.load(getattr(kinds, kind.capitalize()), name).__name__ for name in registry.names(kind)]
    for kind in registry.KINDS
}))
"""


def installed() -> set[str]:
    return {entry.distribution for kind in registry.KINDS for entry in registry.entries(kind)} & PACKAGES.keys()


def test_core_and_built_ins_import_no_plugin():
    found = []
    for file in Path(rddm.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [(file.name, name) for name in names if name.split(".")[0].startswith("rddm_")]
    assert found == []


@pytest.mark.parametrize("file", PLUGINS, ids=lambda file: file.parent.name)
def test_a_plugin_is_a_distribution_of_its_own_that_needs_core_and_no_other_plugin(file):
    project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    needs = [need.split(">=")[0].split("[")[0] for need in project["dependencies"]]
    assert project["name"] == file.parent.name
    assert "residual-diffusion" in needs
    assert "rddm" not in needs  # another project's name on the index
    assert not set(needs) & PACKAGES.keys()
    assert all(group in {f"rddm.{kind}s" for kind in registry.KINDS} for group in project["entry-points"])
    assert {"README.md", "tests", "recipes", "src"} <= {path.name for path in file.parent.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGES)
def test_without_a_plugin_every_other_component_is_there_and_loads(name):
    if name not in installed():
        pytest.skip(f"{name} is not installed: pip install -r requirements-dev.txt")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT, name, PACKAGES[name]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    counts = {kind: len(loaded) for kind, loaded in json.loads(done.stdout).items()}
    assert counts == {
        kind: len({entry.name for entry in registry.entries(kind) if entry.distribution != name})
        for kind in registry.KINDS
    }
    assert sum(len(registry.names(kind)) for kind in registry.KINDS) > sum(counts.values())
