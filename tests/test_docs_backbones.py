"""docs/backbones.md: its numbers are so, and it names every backbone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from rddm.core import registry
from rddm.core.kinds import Backbone
from rddm.core.named import resolve
from rddm.core.spec import override

DOCS = Path(__file__).parents[1] / "docs"
TEXT = (DOCS / "backbones.md").read_text(encoding="utf-8")
ROWS = re.findall(r"(?m)^\| `(.+?)` \| ([\d.]+) M \| ([\d.]+) G \|", TEXT)


def test_every_backbone_is_named():
    built_in = {entry.name for entry in registry.entries("backbone") if entry.distribution == "residual-diffusion"}
    assert built_in == {resolve(Backbone, override({}, [f"b={row[0]}"])["b"]).name for row in ROWS}


@pytest.mark.parametrize(("spec", "parameters", "macs"), ROWS)
def test_parameters_and_multiply_accumulates_are_as_written(spec, parameters, macs):
    recipe = resolve(Backbone, override({}, [f"b={spec}"])["b"])
    with torch.device("meta"):
        net, x, time = recipe.build(6, 3, 1), torch.empty(1, 6, 256, 256), torch.empty(1, 1)
        with FlopCounterMode(display=False) as counter:
            net(x, time)
    assert f"{sum(parameter.numel() for parameter in net.parameters()) / 1e6:.2f}" == parameters
    assert f"{counter.get_total_flops() / 2e9:.2f}" == macs


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)", TEXT):
        assert (DOCS / target).is_file(), target
