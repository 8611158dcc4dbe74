"""Finding and loading components, with plugins that are good, broken, misnamed, doubled and malformed."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import warnings

import pytest

import rddm
from rddm import RegistryError, ShapeError, SpecError
from rddm.core import kinds, registry
from rddm.core.component import Component
from rddm.core.kinds import Backbone, Sampler, Schedule
from rddm.core.named import resolve

numbers = itertools.count()

SCHEDULE = """
from typing import Literal
import torch
from rddm.core.kinds import Schedule
from rddm.core.process import Path

class Mine(Schedule):
    name: Literal["{name}"] = "{name}"
    T: int = 10
    def path(self):
        x = torch.linspace(0, 1, self.T + 1, dtype=torch.float64)
        return Path.dual(x, x)
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A function that makes a package with an entry point visible, as pip would; returns its module's name."""

    def install(
        name="mine",
        source=SCHEDULE,
        *,
        entry=None,
        kind="schedules",
        distribution="third-party",
        metadata=None,
        folder="site",
    ):
        site = tmp_path / folder
        module = f"third_party_{next(numbers)}"
        info = site / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (site / f"{module}.py").write_text(source.replace("{name}", name))
        text = metadata or f"[rddm.{kind}]\n{entry or name} = {module}:Mine\n"
        (info / "entry_points.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
        monkeypatch.syspath_prepend(str(site))
        registry.refresh()
        return module

    yield install
    registry.refresh()


def test_a_plugin_is_found_without_being_imported_and_works_like_a_built_in(install):
    module = install()
    assert "mine" in registry.names("schedule")
    assert module not in sys.modules
    schedule = resolve(Schedule, {"name": "mine", "T": 7})
    assert module in sys.modules
    assert schedule.path().T == 7
    assert resolve(Schedule, schedule.model_dump()) == schedule


def test_an_unknown_name_lists_the_known_ones_and_suggests_the_nearest():
    with pytest.raises(RegistryError, match="unknown schedule 'powr'; did you mean 'power'[?] known: .*ddim, .*power"):
        registry.load(Schedule, "powr")
    with pytest.raises(RegistryError, match="unknown kind 'schedul'; did you mean 'schedule'"):
        registry.entries("schedul")


def test_a_plugin_that_cannot_be_imported_is_named_and_hinders_nobody(install):
    module = install("broken", "import nothing_of_this_name\n")
    assert "broken" in registry.names("schedule")
    assert registry.load(Schedule, "power")
    message = rf"'broken' of third-party 1\.2 \({module}:Mine\) cannot be loaded: ModuleNotFoundError: .*nothing_of"
    with pytest.raises(RegistryError, match=message):
        registry.load(Schedule, "broken")
    with pytest.raises(SpecError, match="third-party"):
        resolve(Schedule, "broken")


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("x = 1\n\nraise SystemError('boom')", 3),
        ("raise SystemExit(3)", 1),
        ("def f(:\n    pass", 1),
        ("x = 1\ny = f(x", 2),
        ("def f():\n    return 1 / 0\n\nf()", 2),
        ("from typing import Literal\nimport rddm.core.kinds as k\nclass Mine(k.Schedule):\n    T: undefined = 1", 4),
        ("import json\njson.loads('{')", 2),
    ],
)
def test_the_line_of_the_plugin_that_an_import_fails_in_is_named(install, source, line):
    module = install("broken", source)
    install("whole", distribution="second-party", folder="second")
    for _ in range(2):
        with pytest.raises(RegistryError, match=rf"of third-party 1\.2 .*, in \S*{module}\.py:{line}$"):
            registry.load(Schedule, "broken")
    assert resolve(Schedule, "whole").path().T == 10


def test_an_entry_point_that_leads_nowhere_is_to_be_mended_in_pyproject(install):
    install("lost", metadata="[rddm.schedules]\nlost = no_module_of_this_name:Mine\n")
    with pytest.raises(RegistryError, match="No module named .*; mend its entry point in pyproject.toml"):
        registry.load(Schedule, "lost")


RAISES = """
from typing import Literal
import torch
from rddm.plugin import Path, Schedule

class Mine(Schedule):
    name: Literal["{name}"] = "{name}"
    def path(self):
        return helper()

def helper():
    {what}
"""


@pytest.mark.parametrize(
    ("what", "code", "said"),
    [
        ("return 1 / 0", 1, "ZeroDivisionError: division by zero\nraised in third-party 1.2, "),
        ("return Path.dual(*torch.ones(2, 3).double())", 2, "t = 0 must be the clean image"),
    ],
)
def test_what_goes_wrong_in_a_plugin_at_work_names_its_distribution_and_line(install, tmp_path, what, code, said):
    module = install("odd", RAISES.replace("{what}", what))
    (tmp_path / "spec.yaml").write_text("{task: {name: paired, train: a, eval: b}, schedule: odd}")
    done = subprocess.run(
        [sys.executable, "-m", "rddm", "profile", str(tmp_path / "spec.yaml")],
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code
    assert said in done.stderr
    assert re.search(rf"raised in third-party 1\.2, \S*{module}\.py:12", done.stderr)


@pytest.mark.parametrize("source", ["raise SystemError('boom')", "x = 1", "class Mine: pass", "Mine = 3"])
def test_a_plugin_that_is_no_component_says_what_it_is(install, source):
    install("odd", source)
    with pytest.raises(RegistryError, match=r"schedule 'odd' of third-party 1\.2"):
        registry.load(Schedule, "odd")


def test_a_component_that_lacks_a_method_is_named_with_the_method(install):
    install("unfinished", SCHEDULE.replace("def path", "def paths"))
    with pytest.raises(
        RegistryError, match=r"'unfinished' of third-party 1\.2 .* lacks path, which every schedule.*_\d+\.py:7$"
    ):
        registry.load(Schedule, "unfinished")


def test_a_backbone_that_gives_another_shape_and_a_degradation_that_leaves_the_range_are_named(install):
    import torch

    from rddm.core.kinds import Degradation
    from rddm.core.network import Network
    from rddm.samplers.sm_res import SMRes

    install(
        "narrow",
        """
from typing import Literal
from torch import nn
from rddm.core.kinds import Backbone

class Net(nn.Module):
    def forward(self, x, time):
        return x[:, :1]

class Mine(Backbone):
    name: Literal["{name}"] = "{name}"
    def build(self, in_chans, out_chans, times):
        return Net()
""",
        kind="backbones",
    )
    network = Network(registry.load(Backbone, "narrow")(), SMRes(), 3, 3)
    with pytest.raises(ShapeError, match=r"backbone 'narrow' must give \(1, 3, 4, 4\).*gave \(1, 1, 4, 4\)"):
        network(torch.zeros(1, 6, 4, 4), {"res": torch.zeros(1, 1)})
    install(
        "glaring",
        """
from typing import Literal
from rddm.core.kinds import Degradation

class Mine(Degradation):
    name: Literal["{name}"] = "{name}"
    def __call__(self, clean, generator):
        return clean * 300
""",
        kind="degradations",
        folder="second",
        distribution="other-party",
    )
    assert registry.load(Degradation, "glaring")
    trainer = rddm.build(
        {"task": {"name": "paired", "train": {"name": "photos"}, "eval": "x", "degradation": "glaring"}}
    )
    from rddm.core.data import Examples

    with pytest.raises(ShapeError, match="degradation 'glaring' must give 'input' as"):
        Examples(trainer[kinds.Task], trainer[rddm.Training])[0]


def test_a_component_of_another_kind_is_refused(install):
    install("other", SCHEDULE, kind="samplers")
    with pytest.raises(RegistryError, match=r"not a class derived from rddm.plugin.Sampler, in .*third_party_\d+.py:7"):
        registry.load(Sampler, "other")


def test_an_entry_point_under_another_name_than_the_class_declares_tells_what_to_write(install):
    install("declared", entry="registered")
    with pytest.raises(
        RegistryError, match=r"declares the name 'declared'; write name: Literal.\"registered\".*_\d+\.py:7, or"
    ):
        registry.load(Schedule, "registered")


def test_a_class_that_declares_no_name_is_told_to(install):
    install("nameless", SCHEDULE.replace('    name: Literal["{name}"] = "{name}"\n', "    name: str\n"))
    with pytest.raises(RegistryError, match=r"declares no name; write name: Literal.\"nameless\""):
        registry.load(Schedule, "nameless")


def test_two_plugins_of_one_name_are_an_error_at_use_that_names_both(install):
    install("twin", distribution="first-plugin", folder="a")
    install("twin", distribution="second-plugin", folder="b")
    assert registry.names("schedule").count("twin") == 1
    with pytest.raises(RegistryError, match=r"defined 2 times: .*first-plugin.*second-plugin"):
        registry.load(Schedule, "twin")


def test_a_plugin_cannot_replace_a_built_in_silently(install):
    install("power")
    with pytest.raises(RegistryError, match=r"residual-diffusion.*third-party"):
        registry.load(Schedule, "power")


def test_a_distribution_that_is_shadowed_on_the_path_does_not_count_twice(install):
    install("once", folder="a")
    install("once", folder="b")
    assert registry.load(Schedule, "once")


@pytest.mark.parametrize(
    "metadata",
    [b"\xff\xfe\x00 not utf-8", "no section at all = here", "[a]\nx = 1\nx = 2\n", "[unrelated]\nstray line\n"],
)
def test_the_malformed_metadata_of_others_is_none_of_our_business(install, metadata):
    install("x", metadata=metadata, distribution="stranger")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert registry.load(Schedule, "power")


@pytest.mark.parametrize("metadata", [b"[rddm.schedules]\nx = \xff\n", "[rddm.schedules]\nx = a:B\nx = a:C\n"])
def test_malformed_metadata_of_a_plugin_is_a_warning_that_names_it(install, metadata):
    known = registry.names("schedule")
    install("x", metadata=metadata, distribution="careless")
    with pytest.warns(UserWarning, match=r"careless 1\.2: .*entry_points\.txt cannot be read"):
        names = registry.names("schedule")
    assert names == known


def test_an_entry_point_that_is_no_reference_is_an_error_at_use_only(install):
    install("x", metadata="[rddm.schedules]\nx = not a reference!\n")
    assert "x" in registry.names("schedule")
    with pytest.raises(RegistryError, match="schedule 'x' of third-party"):
        registry.load(Schedule, "x")


def test_other_locales_read_the_same(install):
    install("ünïcode")
    code = "from rddm.core import registry; print(ascii(registry.names('schedule')))"
    path = [p for p in sys.path if p.endswith("site")]
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", f"import sys; sys.path[:0] = {path!r}; {code}"],
        capture_output=True,
        text=True,
        env={"LC_ALL": "C", "PATH": "/usr/bin"},
        check=True,
    )
    assert r"\xfcn\xefcode" in done.stdout


def test_every_kind_has_a_class_that_opens_it():
    opened = {cls.kind: cls for cls in vars(kinds).values() if isinstance(cls, type) and "kind" in vars(cls)}
    opened.pop("", None)
    assert sorted(opened) == sorted(registry.KINDS)
    assert all(issubclass(cls, Component) for cls in opened.values())


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_built_in_loads_under_its_own_name_and_documents_itself(kind):
    base = getattr(kinds, kind.capitalize())
    assert registry.names(kind)
    for name in registry.names(kind):
        component = registry.load(base, name)
        assert component.__doc__
        assert component.__doc__ != base.__doc__, f"{name} has no docstring of its own"


def test_importing_rddm_and_listing_components_import_no_torch_and_no_component():
    code = (
        "import sys, rddm, rddm.cli; from rddm.core import registry; [registry.names(k) for k in registry.KINDS];"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('torch', 'timm', 'numpy', 'pydantic')"
        " or m.startswith(('rddm.schedules', 'rddm.samplers', 'rddm.backbones', 'rddm.tasks'))];"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_only_the_named_module_is_imported():
    code = (
        "import sys; from rddm.core.kinds import Schedule; from rddm.core.named import resolve;"
        "resolve(Schedule, 'power');"
        "assert 'rddm.schedules.power' in sys.modules and 'rddm.schedules.ddim' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_third_party_backbone_takes_part_in_a_spec(install):
    install(
        "tiny",
        """
from typing import Literal
from torch import nn
from rddm.core.kinds import Backbone

class Net(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.conv = nn.Conv2d(i, o, 3, padding=1)
    def forward(self, x, time):
        return self.conv(x)

class Mine(Backbone):
    name: Literal["{name}"] = "{name}"
    def build(self, in_chans, out_chans, times):
        return Net(in_chans, out_chans)
""",
        kind="backbones",
    )
    import torch

    import rddm

    trainer = rddm.build({"task": {"name": "paired", "train": "a", "eval": "b"}, "backbone": "tiny"})
    assert trainer[Backbone].name == "tiny"
    assert trainer.restore(torch.rand(3, 9, 7), steps=2).shape == (3, 9, 7)
