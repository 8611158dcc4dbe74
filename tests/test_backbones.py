"""Backbones: what holds for all of them, and the architectures of each."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from rddm.core import registry
from rddm.core.errors import SpecError
from rddm.core.kinds import Backbone

NAMES = registry.names("backbone")
SMALL = {  # others are tested with their defaults
    "nafnet": {"width": 8, "middle_blocks": 1},
    "unet": {"width": 8, "multipliers": (1, 2)},
}
every = pytest.mark.parametrize("name", NAMES)
ours = pytest.mark.parametrize("name", sorted(SMALL))


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def small(name: str) -> Backbone:
    return registry.load(Backbone, name)(**SMALL.get(name, {}))


def awake(net: nn.Module) -> nn.Module:
    """The network with its parameters moved, so that none which starts at zero hides another."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn(parameter.shape), alpha=0.1)
    return net


def given(recipe: Backbone, in_chans: int = 6, times: int = 1, batch: int = 2) -> tuple[Tensor, Tensor]:
    """An input of the least size that is not square, and times."""
    size = max(recipe.multiple, 8)
    return torch.randn(batch, in_chans, size, 2 * size), 1000 * torch.rand(batch, times)


def count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@every
@pytest.mark.parametrize(("in_chans", "out_chans", "times"), [(6, 3, 1), (1, 1, 1), (7, 6, 2)])
def test_the_output_has_the_channels_asked_for_and_the_size_of_the_input(name, in_chans, out_chans, times):
    recipe = small(name)
    net = recipe.build(in_chans, out_chans, times)
    x, time = given(recipe, in_chans, times)
    for image in (x, x.mT):
        y = net(image, time)
        assert y.shape == (2, out_chans, *image.shape[2:])
        assert y.isfinite().all()


@every
@pytest.mark.parametrize("times", [1, 2])
def test_every_time_matters(name, times):
    recipe = small(name)
    net = awake(recipe.build(6, 3, times)).eval()
    x, time = given(recipe, times=times)
    for k in range(times):
        other = time.clone()
        other[:, k] = 1000 - other[:, k]
        assert (net(x, other) - net(x, time)).abs().amax() > 1e-3


@every
def test_items_of_a_batch_do_not_influence_each_other(name):
    recipe = small(name)
    net = awake(recipe.build(6, 3, 1)).eval()
    x, time = given(recipe, batch=3)
    together = net(x, time)
    for i in range(3):
        torch.testing.assert_close(net(x[i : i + 1], time[i : i + 1]), together[i : i + 1], atol=1e-5, rtol=1e-4)


@every
def test_gradients_reach_every_parameter(name):
    recipe = small(name)
    net = awake(recipe.build(6, 3, 2))
    x, time = given(recipe, times=2)
    net(x, time).square().mean().backward()
    dead = [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert not dead


@every
def test_a_fresh_network_of_default_size_trains_from_bounded_outputs(name):
    recipe = small(name)
    x, time = given(recipe)
    assert recipe.build(6, 3, 1)(x, time).abs().amax() < 100


@every
def test_a_recipe_equals_what_its_parameters_give(name):
    recipe = small(name)
    assert type(recipe)(**recipe.model_dump()) == recipe
    assert type(recipe).model_validate_json(recipe.model_dump_json()) == recipe
    assert pickle.loads(pickle.dumps(recipe)) == recipe


@every
def test_equal_seeds_give_equal_weights(name):
    def built(seed: int) -> list[Tensor]:
        torch.manual_seed(seed)
        return list(small(name).build(6, 3, 1).state_dict().values())

    assert all(torch.equal(a, b) for a, b in zip(built(1), built(1), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(built(1), built(2), strict=True))


@every
def test_a_state_dict_carries_the_whole_network(name):
    recipe = small(name)
    net, other = (awake(recipe.build(6, 3, 1)).eval() for _ in range(2))
    x, time = given(recipe)
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(x, time), net(x, time))


@every
def test_one_pair_is_learnt_by_heart(name):
    recipe = small(name)
    net = recipe.build(6, 3, 1)
    x, time = given(recipe, batch=1)
    y = torch.randn(1, 3, *x.shape[2:])
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = (net(x, time) - y).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 10


@ours
def test_an_exported_network_gives_the_same_output(name):
    recipe = small(name)
    net = awake(recipe.build(6, 3, 1)).eval()
    x, time = given(recipe)
    exported = torch.export.export(net, (x, time)).module()
    torch.testing.assert_close(exported(x, time), net(x, time))


@ours
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_network_cast_to_another_dtype_still_resolves_the_time(name, dtype):
    recipe = small(name)
    net = awake(recipe.build(6, 3, 1)).eval().to(dtype)
    x, _ = given(recipe, batch=1)
    a, b = (net(x.to(dtype), torch.tensor([[t]])) for t in (900.0, 901.0))
    assert a.dtype == dtype
    assert not torch.equal(a, b)


@ours
def test_a_network_runs_under_autocast(name):
    recipe = small(name)
    net = awake(recipe.build(6, 3, 1))
    x, time = given(recipe)
    with torch.autocast("cpu", torch.bfloat16):
        y = net(x, time)
    torch.testing.assert_close(y.float(), net(x, time), atol=0.1 * y.float().std().item(), rtol=0.1)


@pytest.mark.parametrize(
    ("name", "parameters", "path"),
    [
        ("unet", {"width": 12}, "width"),
        ("unet", {"width": 0}, "width"),
        ("unet", {"multipliers": ()}, "multipliers"),
        ("unet", {"multipliers": (1, 0)}, "multipliers.1"),
        ("nafnet", {"width": 0}, "width"),
        ("nafnet", {"patch": 0}, "patch"),
        ("nafnet", {"enc_blocks": (1, 0)}, "enc_blocks.1"),
        ("nafnet", {"enc_blocks": (1, 1, 1)}, "dec_blocks"),
        ("nafnet", {"middle_blocks": 0}, "middle_blocks"),
    ],
)
def test_a_size_that_cannot_be_built_is_refused(name, parameters, path):
    with pytest.raises(SpecError, match=f"  {path}: "):
        registry.load(Backbone, name)(**parameters)
