"""New packages that extend rddm: from a name and a kind, everything that is to be installed, tested and published."""

from __future__ import annotations

import builtins
import keyword
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jinja2

from rddm import __version__
from rddm.core import registry
from rddm.core.errors import OutputError, SpecError
from rddm.core.files import fresh_folder

#: What the component of a kind is called in a spec; {name} is its own name.
USAGE = {
    "backbone": "backbone: {name: NAME, width: 48}",
    "degradation": "task: {name: paired, train: photos/train, eval: photos/test, degradation: NAME}",
    "grid": "sampler: {name: sm-res-n, grid: NAME}",
    "mask": "task: {name: inpainting, train: photos/train, eval: photos/test, mask: NAME}",
    "metric": "task: {name: paired, train: photos/train, eval: photos/test, metrics: [psnr, NAME]}",
    "route": "sampler: {name: sm-res-n, clock: path, route: NAME}",
    "sampler": "sampler: {name: NAME, steps: 10}",
    "schedule": "schedule: {name: NAME, level: 0.1}",
    "solver": "sampler: {name: sm-res-n, solver: NAME}",
    "source": "task: {name: paired, train: {name: NAME}, eval: {name: NAME, seed: 1}, degradation: noise}",
    "task": "task: {name: NAME, train: photos/train, eval: photos/test}",
}
#: Other names in the modules that are written.
USED = [
    "Any",
    "Block",
    "Callable",
    "ClassVar",
    "F",
    "Field",
    "Generator",
    "Literal",
    "Mapping",
    "Network",
    "Sequence",
    "Tensor",
    "Waves",
]


def new_plugin(name: str, kind: str, out: Path) -> Path:
    """Write the package rddm-<name> with one small component of a kind, its test and all that surrounds it.

    Args:
        name: of the component; small letters, digits and single hyphens, beginning with a letter. "rddm-" before it
            may be left out.
        out: the folder that the package's folder, which must not exist, is made in.

    Raises:
        RegistryError: there is no such kind.
        SpecError: the name is no such name, or a component or a distribution has it already.
        OutputError: the folder exists, or cannot be written.
    """
    name = name.removeprefix("rddm-")
    distribution, package = f"rddm-{name}", f"rddm_{name.replace('-', '_')}"
    _check(name, kind, distribution)
    if (out / distribution).exists():
        raise OutputError(f"{out / distribution} exists; choose another name, or another folder by --out")
    values = {
        "name": name,
        "kind": kind,
        "cls": _class(name, kind),
        "distribution": distribution,
        "package": package,
        "at_least": __version__,
        "below": next_breaking(__version__),
        "usage": USAGE[kind].replace("NAME", name),
    }
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("rddm.scaffold"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # source code, not HTML
    )
    files = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        ".gitignore": "gitignore",
        f"src/{package}/__init__.py": "init.py",
        f"src/{package}/py.typed": None,
        f"src/{package}/{kind}.py": f"component/{kind}.py",
        f"tests/test_{package}.py": f"test/{kind}.py",
    }
    with fresh_folder(out / distribution) as folder:
        for file, template in files.items():
            text = templates.get_template(f"{template}.jinja").render(values) if template else ""
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text, encoding="utf-8")
    return out / distribution


def next_breaking(current: str) -> str:
    """The first version that may break what works with this one: a minor one before 1.0, a major one from then on."""
    major, minor = (int(number) for number in re.findall(r"\d+", current)[:2])  # of 1.0rc1, too
    return f"{major + 1}" if major else f"0.{minor + 1}"


def _check(name: str, kind: str, distribution: str) -> None:
    taken = registry.entries(kind)
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        problem = "must be small letters, digits and single hyphens, beginning with a letter, such as my-schedule"
        raise SpecError("new-plugin", [(("NAME",), f"{problem}; given {name!r}")])
    if there := [entry for entry in taken if entry.name == name]:
        raise SpecError("new-plugin", [(("NAME",), f"{there[0]} is there already; choose another name")])
    try:
        installed = version(distribution)
    except PackageNotFoundError:
        return
    problem = f"{distribution} {installed} is installed; choose another name, or add a component to that package"
    raise SpecError("new-plugin", [(("NAME",), problem)])


def _class(name: str, kind: str) -> str:
    from rddm import plugin

    plain = "".join(part.capitalize() for part in name.split("-"))
    taken = plain in {*plugin.__all__, *dir(builtins), *USED} or keyword.iskeyword(plain)
    return f"{plain}{kind.capitalize()}Plugin" if taken else plain
