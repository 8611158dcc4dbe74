"""The measure of path dependence against predictions whose derivatives are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gaussian import Blank
from torch import nn

import rddm
from rddm import SpecError
from rddm.core.kinds import Sampler
from rddm.core.network import Network
from rddm.core.systems.dependence import path_dependence

TASK = {"name": "paired", "channels": 1}


class Leaning(nn.Module):
    """Predictions that lean on their own time alone, res^ = u abar and eps^ = v bbar, or on the other's, too."""

    def __init__(self, weights, T):
        super().__init__()
        self.weights, self.T = weights, T

    def forward(self, x, time):
        heads = (time / self.T) @ self.weights.T  # (B, 2)
        return heads[..., None, None].expand(-1, -1, *x.shape[2:]).contiguous()


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    file = tmp_path / "images.npz"
    np.savez(file, target=rng.random((5, 8, 8), np.float32), input=rng.random((5, 8, 8), np.float32))
    return {"name": "arrays", "path": str(file)}


def trainer_of(images, weights=((0.0, 0.0), (0.0, 0.0)), sampler="sm-res-n", schedule="power", **keys):
    sampler = {"name": sampler, "clock": "path"} | ({"nets": 1} if sampler == "sm-res-n" else {})
    trainer = rddm.build(
        {
            "task": TASK | {"train": images, "eval": images},
            "schedule": schedule,
            "sampler": sampler,
            "backbone": {"name": "nafnet", "width": 8, "enc_blocks": [1], "middle_blocks": 1, "dec_blocks": [1]},
            "training": {"crop": 8, **keys},
        }
    )
    network = Network(Blank(), trainer[Sampler], 1, 1)
    for key in network.nets:
        network.nets[key] = Leaning(torch.tensor(weights), 1000.0)
    network.anchor = nn.Parameter(torch.zeros(1))  # which tells the device
    return trainer.replace(network)


@pytest.mark.parametrize("batch_size", [2, 16])
def test_it_is_the_size_of_the_derivatives_whatever_the_batch(images, batch_size):
    weights = ((5.0, 0.5), (-0.25, 7.0))  # res = 5 abar + bbar / 2, eps = 7 bbar - abar / 4
    found = path_dependence(trainer_of(images, weights, batch_size=batch_size))
    assert found == pytest.approx({"dres_dbbar": 0.5, "deps_dabar": 0.25, "curl": 0.75}, rel=1e-3)


def test_predictions_of_their_own_time_alone_depend_on_no_path(images):
    found = path_dependence(trainer_of(images, ((3.0, 0.0), (0.0, 2.0))))
    assert found == pytest.approx({"dres_dbbar": 0, "deps_dabar": 0, "curl": 0}, abs=1e-4)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"schedule": {"name": "power", "beta_T2": 0}}, "schedule: has no plane of residual and noise"),
        ({"schedule": "vp"}, r"A \+ B is not 1"),
        ({"sampler": "velocity"}, "sampler: velocity predicts what only the path of training defines"),
    ],
)
def test_where_there_is_no_plane_to_leave_the_path_in_it_is_an_error(images, keys, message):
    with pytest.raises(SpecError, match=message):
        path_dependence(trainer_of(images, **keys))


def test_an_image_that_cannot_be_read_is_left_out_with_a_warning(tmp_path, images):
    file = tmp_path / "broken.npz"
    bad = np.random.default_rng(0).random((3, 8, 8), np.float32)
    bad[1] += 5
    np.savez(file, target=bad, input=bad.clip(0, 1))
    with pytest.warns(UserWarning, match=r"left out.*target 000001 spans"):
        path_dependence(trainer_of({"name": "arrays", "path": str(file)}))
