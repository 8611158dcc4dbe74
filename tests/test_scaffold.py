"""`rddm new-plugin`: what it writes is complete, passes its own tests, lint and types, and is found once installed."""

from __future__ import annotations

import importlib
import os
import re
import site
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import rddm
from rddm.cli import app
from rddm.core import kinds, registry
from rddm.scaffold.package import new_plugin, next_breaking
from rddm.testing import check

runner = CliRunner()
DOCS = Path(rddm.__file__).parents[1] / "docs" / "plugins.md"
WORKED = re.search(r"^## From an empty folder.*?(?=^## )", DOCS.read_text(encoding="utf-8"), re.S | re.M)[0]
NAMES = {kind: f"my-{kind}-2" for kind in registry.KINDS}
SMALL = {
    "backbone": {"width": 8, "depth": 1},
    "schedule": {"T": 20},
    "source": {"count": 3, "size": (8, 9)},
    "task": {"train": "a", "eval": "b"},
}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A function that makes packages of the kinds, with what pip would add, importable; returns the folder."""

    def install(names=NAMES):
        for kind, name in names.items():
            folder = new_plugin(name, kind, tmp_path)
            project = tomllib.loads((folder / "pyproject.toml").read_text())
            info = folder / "src" / f"{project['project']['name'].replace('-', '_')}-0.1.0.dist-info"
            info.mkdir()
            (group, points), *others = project["project"]["entry-points"].items()
            assert not others
            lines = "".join(f"{key} = {target}\n" for key, target in points.items())
            (info / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {project['project']['name']}\nVersion: 0.1.0\n"
            )
            (info / "entry_points.txt").write_text(f"[{group}]\n{lines}")
            monkeypatch.syspath_prepend(str(folder / "src"))
        registry.refresh()
        return tmp_path

    yield install
    registry.refresh()


@pytest.mark.filterwarnings("default")
def test_a_new_plugin_of_every_kind_keeps_its_contract(installed):
    installed()
    for kind, name in NAMES.items():
        component = registry.load(getattr(kinds, kind.capitalize()), name)
        options = {"compile": False} if kind == "backbone" else {}
        assert check(component(**SMALL.get(kind, {})), **options)


def test_it_has_all_that_a_package_needs(tmp_path):
    folder = new_plugin("cosine", "schedule", tmp_path)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {
        ".gitignore",
        "README.md",
        "pyproject.toml",
        "src/rddm_cosine/__init__.py",
        "src/rddm_cosine/py.typed",
        "src/rddm_cosine/schedule.py",
        "tests/test_rddm_cosine.py",
    }
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == [f"residual-diffusion>={rddm.__version__},<{next_breaking(rddm.__version__)}"]
    assert project["entry-points"] == {"rddm.schedules": {"cosine": "rddm_cosine.schedule:Cosine"}}
    assert "    check(Cosine(T=100))\n" in (folder / "tests/test_rddm_cosine.py").read_text()


@pytest.mark.parametrize("kind", registry.KINDS)
def test_no_template_uses_more_of_rddm_than_what_is_promised(kind, tmp_path):
    folder = new_plugin("some-thing", kind, tmp_path)
    used = [line for file in folder.rglob("*.py") for line in file.read_text().splitlines() if "from rddm" in line]
    allowed = ("from rddm.plugin import ", "from rddm.testing import ", "from rddm_some_thing")
    assert used
    assert [line for line in used if not line.startswith(allowed)] == []


def test_the_command_says_where_the_package_is_and_what_to_type_next(tmp_path):
    result = runner.invoke(app, ["new-plugin", "rddm-cosine", "--kind", "schedule", "--out", str(tmp_path)])
    assert result.exit_code == 0
    folder = tmp_path / "rddm-cosine"
    assert folder.is_dir()
    assert f"pip install -e '{folder}[test]' && rddm list schedule && pytest {folder}" in result.stdout


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("Cosine", "schedule", "NAME: must be small letters, digits and single hyphens.*given 'Cosine'"),
        ("my_schedule", "schedule", "NAME: must be small letters"),
        ("my--schedule", "schedule", "NAME: must be small letters"),
        ("2d", "schedule", "NAME: must be small letters"),
        ("../evil", "schedule", "NAME: must be small letters"),
        ("", "schedule", "NAME: must be small letters"),
        ("power", "schedule", "NAME: schedule 'power' of residual-diffusion .* is there already; choose another"),
        ("cosine", "schedul", "unknown kind 'schedul'; did you mean 'schedule'"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_and_nothing_is_written(tmp_path, name, kind, message):
    result = runner.invoke(app, ["new-plugin", name, "--kind", kind, "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert re.search(message, result.stderr), result.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_left_alone(tmp_path):
    (tmp_path / "rddm-cosine").mkdir()
    result = runner.invoke(app, ["new-plugin", "cosine", "--kind", "grid", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "rddm-cosine exists; choose another name, or another folder by --out" in result.stderr
    assert not list((tmp_path / "rddm-cosine").iterdir())


def test_the_name_of_an_installed_package_is_refused(installed):
    folder = installed({"schedule": "cosine"})
    with pytest.raises(rddm.SpecError, match=r"rddm-cosine 0\.1\.0 is installed; choose another"):
        new_plugin("cosine", "grid", folder / "elsewhere")


@pytest.mark.parametrize(
    ("name", "kind"), [("path", "schedule"), ("image-metric", "metric"), ("none", "grid"), ("network", "backbone")]
)
def test_a_class_is_never_called_like_what_its_module_uses(tmp_path, name, kind, monkeypatch):
    folder = new_plugin(name, kind, tmp_path)
    monkeypatch.syspath_prepend(str(folder / "src"))
    module = importlib.import_module(f"rddm_{name.replace('-', '_')}")
    (cls,) = module.__all__
    assert cls.endswith(f"{kind.capitalize()}Plugin")
    assert getattr(module, cls)().name == name


@pytest.mark.parametrize(
    ("current", "below"), [("0.1.0", "0.2"), ("0.13.2", "0.14"), ("1.2.3", "2"), ("2.0.1", "3"), ("1.0rc1", "2")]
)
def test_the_next_breaking_version_is_a_minor_one_before_1_and_a_major_one_after(current, below):
    assert next_breaking(current) == below


# ----------------------------------------------------------------------------------------------- as users install it
@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A virtual environment that sees the packages of this one; the path of its Python."""
    root = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root / "venv"], check=True)
    python = root / "venv" / "bin" / "python"
    packages = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    # addsitedir reads the .pth files there, too, by which packages are installed in place
    lines = [f"import site; site.addsitedir({folder!r})" for folder in site.getsitepackages()]
    (Path(packages) / "outer.pth").write_text("\n".join(lines) + "\n")
    return python


def run(*words, cwd=None) -> str:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=clean | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_what_is_written_is_linted_and_formatted_whatever_its_name(tmp_path):
    pytest.importorskip("ruff")
    for kind in registry.KINDS:
        for name in ("x", f"a-name-that-is-long-for-a-{kind}"):
            new_plugin(name, kind, tmp_path / kind)
    run(sys.executable, "-m", "ruff", "check", "--no-cache", tmp_path)
    run(sys.executable, "-m", "ruff", "format", "--no-cache", "--check", tmp_path)


@pytest.mark.slow
def test_installed_as_its_readme_says_it_is_listed_tested_and_typed(environment, tmp_path):
    folders = {kind: new_plugin(name, kind, tmp_path) for kind, name in NAMES.items()}
    sources = [part for folder in folders.values() for part in ("-e", folder)]
    isolated = [] if importlib.util.find_spec("hatchling") is None else ["--no-build-isolation"]
    pip = [sys.executable, "-m", "pip", "--python", environment, "install", "--quiet", "--no-deps", *isolated]
    run(*pip, *sources)
    listed = run(environment, "-m", "rddm", "list", "--check").splitlines()
    for kind, name in NAMES.items():
        assert f"{kind:<12} {name:<16} rddm-{name} 0.1.0  ok" in listed
    for folder in folders.values():
        assert "passed" in run(environment, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=folder)
    sources = [folder / "src" / f"rddm_{NAMES[kind].replace('-', '_')}" for kind, folder in folders.items()]
    tests = [file for folder in folders.values() for file in folder.glob("tests/*.py")]
    config = ["--config-file", folders["task"] / "pyproject.toml", "--cache-dir", tmp_path / "mypy"]
    assert "Success" in run(environment, "-m", "mypy", *config, *sources, *tests)


BLOCKS = re.findall(r"```(bash|python|yaml)\n(.*?)```", WORKED, re.S)


@pytest.fixture
def shell(environment, tmp_path):
    """A function that runs lines of a shell in an empty folder, with the commands of the environment."""
    commands = tmp_path / "bin"
    commands.mkdir()
    offline = "--no-deps" + ("" if importlib.util.find_spec("hatchling") is None else " --no-build-isolation")
    scripts = {
        "rddm": f'exec {environment} -m rddm "$@"',
        "pytest": f'exec {environment} -m pytest -p no:cacheprovider "$@"',
        "pip": f'exec {sys.executable} -m pip --python {environment} "$1" {offline} -q "${{@:2}}"',
    }
    for name, line in scripts.items():
        (commands / name).write_text(f"#!/bin/bash\n{line}\n")
        (commands / name).chmod(0o755)
    (tmp_path / "empty").mkdir()
    return lambda lines: run(
        "bash", "-euo", "pipefail", "-c", f"export PATH={commands}:$PATH\n{lines}", cwd=tmp_path / "empty"
    )


@pytest.mark.slow
def test_the_worked_example_leads_from_an_empty_folder_to_a_trained_model(shell, tmp_path):
    said = []
    for language, text in BLOCKS:
        if language == "bash":
            said.append(shell(text))
            continue
        file = re.match(r"# (\S+)\n", text)
        assert file, f"a block does not say which file it is:\n{text}"
        (tmp_path / "empty" / file[1]).write_text(text)
    assert [language for language, _ in BLOCKS] == ["bash", "python", "python", "bash", "yaml", "bash"]
    assert "2 passed" in said[1]
    assert "dilations = (1, 2, 4, 8, 4, 2, 1)    of each layer" in said[1]
    assert (tmp_path / "empty" / "runs" / "tiny" / "model.safetensors").is_file()
    means = re.search(r"mean of 2\W+([\d.]+)\W+([\d.]+)", said[2])
    assert means, said[2]
    assert [round(float(mean), 1) for mean in means.groups()] == [pytest.approx(21.7), pytest.approx(26.0, abs=0.3)]
