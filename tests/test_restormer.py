"""The backbone restormer: the paper's sizes, and its formulas written out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from rddm.backbones.restormer import Block, ChannelAttention, GatedFeedForward, Restormer
from rddm.core.errors import SpecError

PAPER = Restormer(width=48, patch=1, blocks=(4, 6, 6, 8), heads=(1, 2, 4, 8), refinement=4)


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def macs(recipe: Restormer, channels: int, height: int, width: int) -> dict[str, float]:
    with torch.device("meta"):
        net, x, time = recipe.build(channels, 3, 1), torch.empty(1, channels, height, width), torch.empty(1, 1)
        with FlopCounterMode(display=False) as counter:
            net(x, time)
    return {str(operator): count / 2e9 for operator, count in counter.get_flop_counts()["Global"].items()}


def test_at_the_papers_size_it_has_the_papers_parameters_and_convolutions():
    # Published: 26.13 M and 140.99 G in convolutions at 256x256, where norms have weights; here these are the time's.
    with torch.device("meta"):
        net = PAPER.build(3, 3, 1)
    own = sum(p.numel() for key, p in net.named_parameters() if "modulation" not in key and not key.startswith("time."))
    norms = sum(4 * block.attention.qkv.in_channels for block in net.modules() if isinstance(block, Block))
    assert own + norms == 26_126_644
    assert macs(PAPER, 3, 256, 256)["aten.convolution"] == pytest.approx(140.99, abs=0.005)


@pytest.mark.parametrize(
    ("recipe", "parameters", "gmacs"),
    [(Restormer(), 1_324_101, 2.991), (Restormer(width=8, blocks=(2,), heads=(2,), refinement=0), 10_584, 0.089)],
)
def test_parameters_and_multiply_accumulates_count_as_written(recipe, parameters, gmacs):
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in recipe.build(6, 3, 1).parameters()) == parameters
    assert sum(macs(recipe, 6, 256, 256).values()) == pytest.approx(gmacs, abs=1e-3)


def test_the_cost_is_linear_in_the_number_of_pixels():
    small, large = (macs(Restormer(), 6, *size) for size in ((64, 64), (128, 192)))
    for operator in ("aten.convolution", "aten.bmm"):
        assert large[operator] == pytest.approx(6 * small[operator])


def test_attention_weighs_channels_by_the_cosine_of_their_likeness_over_all_pixels():
    attention = ChannelAttention(12, 3)
    torch.nn.init.uniform_(attention.tau, 0.5, 5)
    x = torch.randn(2, 12, 5, 7)
    q, k, v = attention.depthwise(attention.qkv(x)).reshape(2, 3, 3, 4, 35).unbind(1)  # (B, heads, d, N)
    cosine = F.cosine_similarity(q[..., :, None, :], k[..., None, :, :], dim=-1)
    weights = torch.softmax(attention.tau * cosine, dim=-1)
    y = attention.out(torch.einsum("bhij,bhjn->bhin", weights, v).reshape(2, 12, 5, 7))
    torch.testing.assert_close(attention(x), y)


def test_one_half_of_the_feed_forward_is_gated_by_the_gelu_of_the_other():
    layer = GatedFeedForward(4, 6)
    x = torch.randn(2, 4, 5, 7)
    inside = layer.depthwise(layer.into(x))
    torch.testing.assert_close(layer(x), layer.out(F.gelu(inside[:, :6]) * inside[:, 6:]))


def test_a_block_adds_what_the_time_scales_shifts_and_gates():
    block = Block(4, 2, 6, 8)
    x, emb = torch.randn(2, 4, 5, 7), torch.randn(2, 8)
    assert torch.equal(block(x, emb), x)
    torch.nn.init.normal_(block.modulation.weight)
    s1, b1, g1, s2, b2, g2 = (emb @ block.modulation.weight.T).reshape(2, 6, 4, 1, 1).unbind(1)

    def norm(x: torch.Tensor) -> torch.Tensor:
        return (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 1e-6).sqrt()

    y = x + g1 * block.attention(norm(x) * (1 + s1) + b1)
    torch.testing.assert_close(block(x, emb), y + g2 * block.feed_forward(norm(y) * (1 + s2) + b2))


def test_a_fresh_network_predicts_nothing():
    assert not Restormer().build(6, 3, 1)(torch.randn(1, 6, 16, 24), torch.ones(1, 1)).any()


@pytest.mark.parametrize(
    "parameters", [{"blocks": (2,), "heads": (2,)}, {"patch": 1}, {"blocks": (1,) * 4, "heads": (1, 2, 3, 4)}]
)
def test_any_number_of_levels_keeps_the_size(parameters):
    recipe = Restormer(width=12, **parameters)
    assert recipe.multiple == recipe.patch * 2 ** (len(recipe.blocks) - 1)
    x = torch.randn(1, 6, recipe.multiple, 3 * recipe.multiple)
    assert recipe.build(6, 3, 1)(x, torch.ones(1, 1)).shape == (1, 3, *x.shape[2:])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"heads": (1, 2)}, "  heads: list as many levels as blocks does, 3"),
        ({"width": 10, "heads": (1, 3, 4)}, "  heads: level 1 has 20 channels, no multiple of 3 heads"),
        ({"width": 0}, "  width: "),
        ({"blocks": (1, 0, 1)}, r"  blocks\.1: "),
        ({"refinement": -1}, "  refinement: "),
        ({"expansion": 0}, "  expansion: "),
        ({"ndim": 1}, "  ndim: "),
    ],
)
def test_a_size_that_cannot_be_built_is_refused(parameters, message):
    with pytest.raises(SpecError, match=message):
        Restormer(**parameters)
