"""What a network is shown and told, in sampling and in training: the seams where a silent mistake would hide."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import nn

import rddm
from rddm.core.data import seeded
from rddm.core.kinds import Backbone, Sampler, Task
from rddm.core.network import Network
from rddm.core.process import Path
from rddm.core.spec import Training
from rddm.core.systems.train import losses
from rddm.samplers.sm_res import SMRes
from rddm.schedules.power import Power


class Spy(nn.Module):
    """Keeps what it is given, and answers with a constant that can be trained."""

    def __init__(self, in_chans: int, out_chans: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(out_chans))
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, x, time):
        self.seen.append((x.detach().clone(), time.detach().clone()))
        return self.value[:, None, None].expand(len(x), -1, *x.shape[2:])


class SpyBackbone(Backbone):
    """Builds spies."""

    name: Literal["spy"] = "spy"
    side: int = 1

    @property
    def multiple(self) -> int:
        return self.side

    def build(self, in_chans, out_chans, times):
        return Spy(in_chans, out_chans)


def trainer_of(sampler: Sampler, schedule: Power, side: int = 1, **training):
    task = {"name": "paired", "train": "a", "eval": "b"}
    backbone = SpyBackbone(side=side)
    return rddm.build(
        rddm.Spec(task=task, sampler=sampler, schedule=schedule, backbone=backbone, training=Training(**training))
    )


def spy(trainer, key="res") -> Spy:
    return trainer[Network].nets[key]


def test_sampling_shows_the_state_then_the_input_both_in_minus_1_to_1_and_tells_the_index():
    trainer = trainer_of(SMRes(steps=2), Power(T=10, beta_T2=0.25))
    image, noise = torch.rand(1, 3, 6, 5), torch.randn(1, 3, 6, 5)
    trainer.restore(image, noise=noise)
    (first, time), (second, later) = spy(trainer).seen
    torch.testing.assert_close(first[:, 3:], image * 2 - 1)
    torch.testing.assert_close(second[:, 3:], image * 2 - 1)
    torch.testing.assert_close(first[:, :3], image * 2 - 1 + 0.5 * noise)  # I_T = I_in + bbar_T eps
    assert time.tolist() == [[10.0]]
    assert later.tolist() == [[5.0]]
    # the spy predicts no residual: x0 = I_in, and at t = 5 the state is I_in + bbar_5 eps
    torch.testing.assert_close(second[:, :3], image * 2 - 1 + trainer[Path].C[5].float() * noise)


def test_a_ddpm_path_starts_from_the_input_and_unit_noise():
    task = {"name": "paired", "train": "a", "eval": "b"}
    trainer = rddm.build(rddm.Spec(task=task, sampler=SMRes(), schedule="ddim", backbone=SpyBackbone()))
    image, noise = torch.rand(1, 3, 4, 4), torch.randn(1, 3, 4, 4)
    trainer.restore(image, noise=noise, steps=1)
    state = spy(trainer).seen[0][0][:, :3]
    torch.testing.assert_close(state, image * 2 - 1 + noise)


def test_a_path_without_a_prior_starts_at_its_end_with_the_input_for_the_image():
    image, noise = torch.rand(1, 3, 4, 4), torch.randn(1, 3, 4, 4)
    trainer = trainer_of(SMRes(steps=1), Power(beta_T2=0.25))
    trainer.restore(image, noise=noise)
    torch.testing.assert_close(spy(trainer).seen[0][0][:, :3], image * 2 - 1 + 0.5 * noise)


def test_the_path_clock_counts_in_the_schedule_s_own_steps():
    trainer = trainer_of(SMRes(steps=1, clock="path"), Power(T=50, beta_T2=0.25))
    trainer.restore(torch.rand(3, 4, 4))
    torch.testing.assert_close(spy(trainer).seen[0][1], torch.tensor([[50.0, 25.0]]))


def test_other_sizes_are_padded_by_reflection_and_thin_ones_by_their_edge():
    trainer = trainer_of(SMRes(steps=1), Power(beta_T2=0), side=4)
    image = torch.rand(1, 3, 6, 7)
    trainer.restore(image)
    seen = spy(trainer).seen[0][0][:, 3:]
    assert seen.shape[2:] == (8, 8)
    want = torch.nn.functional.pad(image, (0, 1, 0, 2), mode="reflect") * 2 - 1
    torch.testing.assert_close(seen, want)
    trainer.restore(image[:, :, :1])
    torch.testing.assert_close(spy(trainer).seen[1][0][0, 3:, :, 0], (image[0, :, :1, 0] * 2 - 1).expand(-1, 4))


def test_clipping_keeps_the_image_in_range_and_can_be_left_out():
    for clip, top in (("x0", 1.0), ("none", 2.0)):
        trainer = trainer_of(SMRes(steps=1, clip=clip), Power(beta_T2=0))
        with torch.no_grad():
            spy(trainer).value.fill_(-1.0)  # residual -1 at I_in = 1: the clean image would be 2
        from rddm.core.systems.trajectory import trajectory

        with torch.inference_mode():
            assert next(iter(trajectory(trainer, torch.ones(1, 3, 2, 2)))).x.max() == top


def test_a_sampler_given_by_name_keeps_the_steps_and_eta_of_the_spec():
    trainer = rddm.build(
        rddm.Spec(
            task={"name": "paired", "train": "a", "eval": "b"},
            sampler={"name": "sm-res-n", "steps": 3, "eta": 1.0},
            schedule=Power(T=30),
            backbone=SpyBackbone(),
        )
    )
    trainer.restore(torch.rand(3, 4, 4), sampler="sm-res")
    assert [time.item() for _, time in spy(trainer).seen] == [30, 20, 10]
    one, two = (trainer.restore(torch.rand(3, 4, 4), sampler=name) for name in ("sm-res", {"name": "sm-res", "eta": 0}))
    assert not torch.equal(one, two)


def test_training_shows_the_forward_state_at_the_time_it_tells_and_asks_for_the_residual():
    trainer = trainer_of(SMRes(), Power(T=8, beta_T2=0), loss="l2")
    generator = seeded(0)
    batch = {"target": torch.rand(64, 3, 4, 4), "input": torch.rand(64, 3, 4, 4), "problems": []}
    found = losses(trainer, trainer[Network], batch, generator, torch.device("cpu"))
    x, time = spy(trainer).seen[0]
    x0, x_in = batch["target"] * 2 - 1, batch["input"] * 2 - 1
    abar = trainer[Path].B[time[:, 0].long()].float()[:, None, None, None]
    torch.testing.assert_close(x[:, :3], x0 + abar * (x_in - x0))
    torch.testing.assert_close(x[:, 3:], x_in)
    assert set(time.flatten().tolist()) == set(map(float, range(1, 9)))  # every time but the clean image's
    torch.testing.assert_close(found["res"], (x_in - x0).square().mean())


def test_training_noise_is_standard_normal_and_differs_for_every_image():
    trainer = rddm.build(
        rddm.Spec(
            task={"name": "paired", "train": "a", "eval": "b"},
            sampler={"name": "sm-res-n", "nets": 2},
            schedule=Power(T=8, beta_T2=1),
            backbone=SpyBackbone(),
            training=Training(loss="l1"),
        )
    )
    zero = torch.full((256, 3, 8, 8), 0.5)
    batch = {"target": zero, "input": zero, "problems": []}
    found = losses(trainer, trainer[Network], batch, seeded(1), torch.device("cpu"))
    x, time = spy(trainer, "noise").seen[0]
    eps = x[:, :3] / trainer[Path].C[time[:, 0].long()].float()[:, None, None, None]
    assert eps.mean().abs() < 0.02
    assert eps.std() == pytest.approx(1, abs=0.02)
    assert not torch.equal(eps[0], eps[1])
    assert found["noise"].item() == pytest.approx((2 / torch.pi) ** 0.5, abs=0.02)  # E |eps|
    assert found["res"] == 0


def test_a_network_that_knows_the_residual_restores_the_target_exactly():
    class Oracle(nn.Module):
        residual: torch.Tensor

        def forward(self, x, time):
            return self.residual

    target, degraded = torch.rand(1, 3, 5, 5), torch.rand(1, 3, 5, 5)
    for eta in (0.0, 1.0):
        trainer = trainer_of(SMRes(steps=4), Power(T=100))
        oracle = Oracle()
        oracle.residual = 2 * degraded - 2 * target
        trainer[Network].nets["res"] = oracle
        trainer[Network].register_parameter("device", nn.Parameter(torch.zeros(1)))
        torch.testing.assert_close(trainer.restore(degraded, eta=eta), target, atol=1e-5, rtol=0)


def test_the_task_is_asked_what_the_network_sees_beside_the_state():
    trainer = trainer_of(SMRes(steps=1), Power())
    assert trainer[Task].conditions == 3
    assert spy(trainer).value.shape == (3,)
