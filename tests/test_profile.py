"""MAC counts: fvcore against torch's own counter."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import rddm
from rddm.core.systems.profile import _Step, macs
from rddm.testing.strategies import built_in

#: Every backbone with one sampler, and every sampler with one backbone: a sampler says no more than how many heads.
PAIRS = sorted(
    {("sm-res-n", name) for name in built_in("backbone")} | {(name, "nafnet") for name in built_in("sampler")}
)
TASK = {"name": "paired", "train": "a", "eval": "b"}


@pytest.mark.parametrize(("sampler", "backbone"), PAIRS)
def test_macs_agree_with_half_the_flops_that_torch_counts(sampler, backbone):
    trainer = rddm.build({"task": TASK, "sampler": {"name": sampler}, "backbone": {"name": backbone}})
    with torch.inference_mode():
        counted, _ = macs(trainer, (64, 64))
        with FlopCounterMode(display=False) as counter:
            _Step(trainer)(torch.zeros(1, 6, 64, 64))
    # torch counts convolutions and matrix products; fvcore also counts normalisation
    assert counted == pytest.approx(counter.get_total_flops() / 2, rel=0.03)


def test_attention_is_counted():
    from rddm.core.systems.profile import _attention

    class Fake:
        def __init__(self, *shape):
            self.shape = shape

        def type(self):
            return self

        def kind(self):
            return "TensorType"

        def sizes(self):
            return list(self.shape)

        def isCompleteTensor(self):
            return True

    q, k, v = Fake(2, 4, 10, 32), Fake(2, 4, 7, 32), Fake(2, 4, 7, 16)
    assert _attention([q, k, v], []) == 2 * 4 * 10 * 7 * (32 + 16)


def test_a_profile_has_the_paper_s_columns():
    trainer = rddm.build({"task": TASK, "sampler": {"name": "sm-res-n", "steps": 5}, "backbone": "nafnet"})
    cost = trainer.profile((32, 48), runs=1)
    assert cost.total_macs == 5 * cost.macs
    assert cost.parameters == sum(p.numel() for p in trainer[rddm.core.network.Network].parameters())
    assert cost.seconds > 0
    assert cost.peak_memory > 2**20
    twice = trainer.profile((64, 48), runs=1)
    assert twice.macs == pytest.approx(2 * cost.macs, rel=0.01)


def test_macs_count_every_evaluation_of_the_network():
    sampler = {"name": "sm-res-n", "steps": 5, "solver": "heun", "eta": 0}
    cost = rddm.build({"task": TASK, "sampler": sampler, "backbone": "nafnet"}).profile((32, 32), runs=1)
    assert (cost.steps, cost.evaluations) == (5, 9)  # twice but for the last step
    assert cost.total_macs == 9 * cost.macs
