import pytest
import torch
from rddm_underwater.wtconv import WTConv, WTConvUNet
from torch import nn
from torch.nn import functional as F

from rddm.plugin import SpecError


def delta(conv: nn.Module) -> None:
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[:, :, 1, 1] = 1


def test_octaves_that_pass_everything_add_the_image_and_its_means() -> None:
    layer = WTConv(2, octaves=3).double()
    for conv in (layer.pixels, *layer.bands):
        delta(conv)
    nn.init.zeros_(layer.pixels.bias)
    x = torch.randn(1, 2, 16, 24, dtype=torch.float64)
    means = [F.interpolate(F.avg_pool2d(x, side), scale_factor=side) for side in (2, 4)]
    torch.testing.assert_close(layer(x), x + x + sum(means))


@pytest.mark.parametrize("octaves", [1, 2, 3])
def test_each_octave_doubles_the_reach(octaves: int) -> None:
    layer = WTConv(1, octaves)
    x = torch.zeros(1, 1, 1, 64, 64)[0].requires_grad_()
    layer(x)[0, 0, 32, 32].backward()
    columns = x.grad[0, 0].abs().amax(0).nonzero()
    assert columns.max() - columns.min() + 1 == 3 * 2**octaves


def test_a_layer_has_9_weights_a_channel_and_36_an_octave() -> None:
    assert sum(p.numel() for p in WTConv(5, octaves=3).parameters()) == 5 * (9 + 1 + 3 * 36)


def test_the_default_is_small_and_begins_with_zeros() -> None:
    net = WTConvUNet().build(21, 3, 1)
    assert sum(p.numel() for p in net.parameters()) == 1_101_292
    assert (net(torch.randn(1, 21, 32, 48), torch.tensor([[500.0]])) == 0).all()


def test_levels_must_mirror_each_other() -> None:
    with pytest.raises(SpecError, match="as many levels as enc_blocks does, 2"):
        WTConvUNet(dec_blocks=(1,))
