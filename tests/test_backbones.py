"""Backbones: the architectures of each; what holds for all of them is in test_contracts.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from diffusers.models.embeddings import get_timestep_embedding
from strategies import SMALL
from torch import Tensor, nn
from torch.export import Dim
from torch.utils.flop_counter import FlopCounterMode

from rddm.backbones.nafnet import NAFNet
from rddm.backbones.unet import FullAttention, LinearAttention, ResBlock, UNet
from rddm.core import registry
from rddm.core.embedding import TimeEmbedding, sinusoids
from rddm.core.errors import SpecError
from rddm.core.kinds import Backbone
from rddm.core.network import Network
from rddm.samplers.sm_n import SMN
from rddm.samplers.sm_res_n import SMResN
from rddm.testing._backbones import awake, given

ours = pytest.mark.parametrize("name", ["nafnet", "restormer", "timm-unet", "unet"])


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def small(name: str) -> Backbone:
    return registry.load(Backbone, name)(**SMALL.get(name, {}))


def count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@ours
def test_an_exported_network_takes_any_batch_and_size(name):
    recipe = small(name)
    net = awake(recipe.build(6, 3, 1)).eval()

    def sized(batch: int, height: int, width: int) -> tuple[Tensor, Tensor]:
        return torch.randn(batch, 6, height * recipe.multiple, width * recipe.multiple), 1000 * torch.rand(batch, 1)

    batch, height, width = (Dim(letter, min=2, max=64) for letter in "bhw")
    shapes = {"x": {0: batch, 2: recipe.multiple * height, 3: recipe.multiple * width}, "time": {0: batch}}
    exported = torch.export.export(net, sized(2, 4, 3), dynamic_shapes=shapes).module()
    x, time = sized(3, 2, 5)
    torch.testing.assert_close(exported(x, time), net(x, time))


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
        ("unet", {"decoders": 3}, "decoders"),
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


@pytest.mark.parametrize(
    ("recipe", "parameters"),
    [
        (UNet(), 36_261_187),  # the paper's network: 36.26 M
        (UNet(width=8, multipliers=(1, 2)), 76_875),
        (NAFNet(), 1_039_660),
        (NAFNet(width=8, patch=1, enc_blocks=(1,), middle_blocks=2, dec_blocks=(3,)), 19_491),
    ],
)
def test_parameters_count_as_written(recipe, parameters):
    with torch.device("meta"):
        assert count(recipe.build(6, 3, 1)) == parameters


def test_a_shared_encoder_with_two_decoders_counts_what_the_published_one_does():
    with torch.device("meta"):
        assert count(UNet(decoders=2).build(6, 6, 1)) == 51_980_614


def test_the_unet_costs_what_the_paper_measured_at_256():
    with torch.device("meta"):
        net, x, time = UNet().build(6, 3, 1), torch.empty(1, 6, 256, 256), torch.empty(1, 1)
        with FlopCounterMode(display=False) as counter:
            net(x, time)
    flops = {str(operator): count for operator, count in counter.get_flop_counts()["Global"].items()}
    macs = {operator: flops[f"aten.{operator}"] / 2e9 for operator in ("convolution", "addmm", "mm")}
    assert sum(macs.values()) == pytest.approx(117.5, abs=0.05)


def test_sinusoids_are_those_of_diffusers():
    time = 1000 * torch.rand(5)
    expected = get_timestep_embedding(time, 12, downscale_freq_shift=1)
    torch.testing.assert_close(sinusoids(time, 12), expected)


def test_standardised_weights_have_no_scale_and_no_mean():
    block = awake(ResBlock(8, 16, 4, 2))
    x, emb = torch.randn(2, 8, 5, 6), torch.randn(2, 4)
    before = block(x, emb)
    with torch.no_grad():
        for conv in (block.conv1, block.conv2):
            conv.weight.mul_(7 * (1 + torch.rand(16, 1, 1, 1))).add_(torch.randn(16, 1, 1, 1))
    torch.testing.assert_close(block(x, emb), before, atol=1e-2, rtol=1e-2)


def heads(attention: nn.Module, x: Tensor) -> Tensor:
    tokens = attention.norm(x.flatten(2).transpose(1, 2))
    return torch.stack(attention.qkv(tokens).split(32, dim=-1), dim=1).unflatten(1, (3, 4)).transpose(0, 1)


def test_full_attention_weighs_values_by_the_softmax_of_their_likeness():
    attention = awake(FullAttention(16))
    x = torch.randn(2, 16, 4, 6)
    q, k, v = heads(attention, x)  # (B, heads, N, d)
    weights = torch.softmax(torch.einsum("bhid,bhjd->bhij", q, k) / 32**0.5, dim=-1)
    y = attention.out(torch.cat((weights @ v).unbind(1), dim=-1))
    torch.testing.assert_close(attention(x), x + y.transpose(1, 2).reshape(2, 16, 4, 6))


def test_linear_attention_weighs_values_by_a_product_of_softmaxes_over_pixels_and_the_root_of_the_width():
    attention = awake(LinearAttention(16))
    x = torch.randn(2, 16, 4, 6)
    q, k, v = heads(attention, x)  # (B, heads, N, d)
    weights = torch.einsum("bhid,bhjd->bhij", q.softmax(-1), k.softmax(-2))
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 24))
    y = torch.cat((weights @ v).unbind(1), dim=-1) / (24 * 32**0.5)
    y = attention.out_norm(attention.out(y))
    torch.testing.assert_close(attention(x), x + y.transpose(1, 2).reshape(2, 16, 4, 6))


def shared() -> UNet:
    return UNet(width=8, multipliers=(1, 2), decoders=2)


@pytest.mark.parametrize("width", [2, 5])
def test_an_embedding_has_an_even_width_from_4_on(width):
    with pytest.raises(ValueError, match=f"even and at least 4; given {width}"):
        TimeEmbedding(1, width, 8)


def test_a_head_may_be_called_like_a_method_of_a_module():
    class Half(SMN):
        heads = ("half",)

        def targets(self, path, node):
            return {"half": (0.0, 0.0, 1.0)}

    network = Network(small("nafnet"), Half(), 3, 0)
    times = {key: torch.zeros(1, 1) for key in network.clocks}
    assert set(network(torch.zeros(1, 3, 8, 8), times)) == {"half"}
    assert set(network(torch.zeros(1, 3, 8, 8), times, ["half"])) == {"half"}


def test_each_of_two_decoders_gives_its_half_of_the_channels():
    net = awake(shared().build(6, 6, 1)).eval()
    x, time = given(shared())
    before = net(x, time)
    for k in (0, 1):
        with torch.no_grad():
            net.decoders[k].head.bias.add_(1)
        moved = (net(x, time) - before).mean(dim=(0, 2, 3)) > 0.5
        assert moved.tolist() == [k >= 0] * 3 + [k >= 1] * 3


def test_of_two_decoders_the_first_sees_the_middle_alone_and_the_second_every_skip():
    net = awake(shared().build(6, 6, 1)).eval()
    deep, emb = torch.randn(2, 16, 4, 4), torch.randn(2, 32)
    skips = [torch.randn(2, 8, 8, 8), *(torch.randn(2, 8, n, n) for n in (8, 8, 4, 4))]
    alone, with_skips = (decoder(deep, emb, skips) for decoder in net.decoders)
    assert torch.equal(net.decoders[0](deep, emb, []), alone)
    for k in range(len(skips)):
        others = [skip + (i == k) * torch.randn(skip.shape) for i, skip in enumerate(skips)]
        assert (net.decoders[1](deep, emb, others) - with_skips).abs().amax() > 1e-3


def test_gradients_reach_every_parameter_of_both_decoders():
    net = awake(shared().build(6, 6, 2))
    net(*given(shared(), times=2)).square().mean().backward()
    assert not [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()]


def test_a_shared_encoder_takes_every_size_inside_a_network():
    network = Network(shared(), SMResN(nets=1), channels=3, conditions=3)
    found = network(torch.randn(2, 6, 9, 15), {"res_noise": torch.tensor([[500.0]])})
    assert {head: tuple(y.shape) for head, y in found.items()} == {"res": (2, 3, 9, 15), "noise": (2, 3, 9, 15)}


def test_decoders_that_cannot_share_the_channels_equally_are_refused():
    with pytest.raises(SpecError, match="decoders: 2 decoders cannot share 3 output channels equally.*decoders: 1"):
        shared().build(6, 3, 1)


def waves(net: nn.Module) -> nn.Module:
    """The network with weights by a formula: 0.3 sin(k / 3 + j), k the index in parameter j; norms' scales plus 1."""
    with torch.no_grad():
        for j, (key, parameter) in enumerate(net.named_parameters()):
            wave = 0.3 * torch.sin(torch.arange(parameter.numel(), dtype=torch.float64) / 3 + j)
            parameter.copy_(wave.reshape(parameter.shape) + ("norm" in key and key.endswith("weight")))
    return net


@pytest.mark.parametrize(
    ("decoders", "pixel"),
    [
        (1, [-0.370241, 0.153511, 0.950958]),
        (2, [-0.486545, -0.162959, -0.317802, -1.047222, 0.153213, -0.060309]),
    ],
)
def test_the_unet_computes_what_the_published_network_does(decoders, pixel):
    # The pixels come from running the published implementation of arXiv 2308.13712 in float32 on these weights.
    net = waves(UNet(width=8, multipliers=(1, 2), decoders=decoders).build(6, 3 * decoders, 1))
    x = torch.sin(0.7 * torch.arange(6 * 8 * 12, dtype=torch.float64)).reshape(1, 6, 8, 12).float()
    with torch.no_grad():
        y = net(x, torch.tensor([[617.0]]))
    torch.testing.assert_close(y[0, :, 5, 7], torch.tensor(pixel), atol=5e-5, rtol=0)


def test_a_fresh_nafnet_predicts_nothing():
    recipe = small("nafnet")
    assert not recipe.build(6, 3, 1)(*given(recipe)).any()
