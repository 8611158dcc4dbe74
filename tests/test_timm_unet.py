"""The backbone timm-unet: which encoders it takes, and what becomes of their norms and pretrained weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

import rddm
from rddm.backbones import _timm
from rddm.backbones.timm_unet import TimmUNet, TimmUNetModule
from rddm.core.errors import SpecError
from rddm.core.network import Network

ENCODERS = {  # with their multiples
    "resnet18": 32,
    "convnext_atto": 32,
    "efficientnet_lite0": 32,
    "mobilenetv3_small_100": 32,
    "pvt_v2_b0": 32,
    "mobilevitv2_050": 64,
    "swin_tiny_patch4_window7_224": 32,  # made for one size, and channels last
    "test_vit": 16,
}


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def built(in_chans: int = 6, **parameters: object) -> TimmUNetModule:
    """A small network with no weight at zero."""
    net = TimmUNet(**({"encoder": "test_resnet", "width": 8} | parameters)).build(in_chans, 3, 1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn(parameter.shape), alpha=0.05)
    return net


def spec(**backbone: object) -> dict[str, object]:
    task = {"name": "paired", "train": "photos", "eval": "photos", "degradation": "noise"}
    return {"task": task, "sampler": "sm-res", "backbone": {"name": "timm-unet", "width": 8} | backbone}


def inner(trainer: rddm.Trainer) -> nn.Module:
    [net] = trainer[Network].nets.values()
    return net.encoder.net


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """The file of a classifier that was trained, its running statistics too."""
    model = timm.create_model("test_resnet")
    model.train()(torch.randn(4, 3, 64, 64) + 1)
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_encoder_of_any_family_serves_images_of_any_channels_and_size(encoder):
    recipe = TimmUNet(encoder=encoder, width=8)
    assert recipe.multiple == ENCODERS[encoder]
    net = built(5, encoder=encoder)
    x, time = torch.randn(1, 5, recipe.multiple, 2 * recipe.multiple), torch.tensor([[500.0]])
    y = net(x, time)  # in training mode
    assert y.shape == (1, 3, *x.shape[2:])
    assert y.isfinite().all()
    other = net.eval()(torch.cat([x, x + 1]), time.expand(2, -1))
    torch.testing.assert_close(other[:1], net(x, time), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"encoder": "restnet34"}, "  encoder: .*no such encoder; near it: resnet34.*given 'restnet34'"),
        ({"encoder": "hf-hub:timm/resnet18"}, "  encoder: .*no such encoder"),
        ({"norm": "frozen"}, "  norm: 'frozen' needs .*pretrained"),
        ({"norm": "batch"}, "  norm: .*'group'.*'frozen'"),
        ({"pretrained": 1}, "  pretrained"),
        ({"out_indices": ()}, "  out_indices"),
        ({"args": {"in_chans": 4}}, "  args: in_chans cannot be set here"),
        ({"args": {"norm_layer": nn.BatchNorm2d}}, "  args: must be what JSON can hold"),
        ({"patch": 3}, "  patch"),
        ({"ndim": 3}, "  ndim"),
    ],
)
def test_parameters_that_cannot_be_meant_are_refused(parameters, message):
    with pytest.raises(SpecError, match=message):
        TimmUNet(**parameters)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"encoder": "resnet34.nothing"}, r"timm makes no encoder of 'resnet34.nothing': .*tag"),
        ({"args": {"depths": "many"}}, "timm makes no encoder of 'convnext_atto'"),
        ({"out_indices": (0, 9)}, "timm makes no encoder"),
        ({"encoder": "maxvit_rmlp_pico_rw_256"}, r"any size .*divisible by window.*take one of resnet\*"),
        ({"encoder": "csatv2"}, "'csatv2'"),  # for three channels only
        ({"encoder": "eva02_tiny_patch14_224"}, r"strides \(14, 14, 14\), which are no powers of two"),
        ({"encoder": "test_resnet", "out_indices": (0,), "patch": 4}, r"strides \(2,\) only, all below patch, 4"),
    ],
)
def test_encoders_that_cannot_serve_say_why(parameters, message):
    with pytest.raises(SpecError, match=f"  encoder: .*{message}"):
        TimmUNet(**parameters).build(6, 3, 1)


@pytest.mark.parametrize(
    ("recipe", "parameters", "gmacs"),
    [
        (TimmUNet(), 5_595_572, 1.666),
        (TimmUNet(encoder="resnet34"), 23_706_732, 5.938),
        (TimmUNet(encoder="resnet34", out_indices=(0, 1, 2), width=16, patch=1), 1_684_467, 3.241),
    ],
)
def test_parameters_and_multiply_accumulates_count_as_written(recipe, parameters, gmacs):
    with torch.device("meta"):
        net, x, time = recipe.build(6, 3, 1), torch.empty(1, 6, 256, 256), torch.empty(1, 1)
        with FlopCounterMode(display=False) as counter:
            net(x, time)
    assert sum(parameter.numel() for parameter in net.parameters()) == parameters
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, abs=1e-3)


def test_indices_choose_features_and_the_multiple_follows():
    recipe = TimmUNet(encoder="test_resnet", out_indices=(1, 3), width=8)
    assert recipe.multiple == 16
    x = torch.randn(1, 6, 16, 48)
    assert [tuple(y.shape) for y in recipe.build(6, 3, 1).encoder(x)] == [(1, 32, 4, 12), (1, 192, 1, 3)]
    assert built(out_indices=(1, 3))(x, torch.ones(1, 1)).shape == (1, 3, 16, 48)


def test_a_fresh_network_predicts_nothing():
    recipe = TimmUNet(encoder="test_resnet")
    assert not recipe.build(6, 3, 1)(torch.randn(1, 6, 32, 64), torch.ones(1, 1)).any()


@pytest.mark.parametrize("encoder", ["test_resnet", "test_convnext", "test_vit"])
@pytest.mark.parametrize("patch", [1, 2, 4])
def test_every_pixel_reaches_the_output_past_the_encoder(encoder, patch):
    net = built(encoder=encoder, patch=patch)
    with torch.no_grad():
        for parameter in net.encoder.parameters():
            parameter.zero_()
    x = torch.randn(1, 6, 32, 32, requires_grad=True)
    net(x, torch.ones(1, 1))[..., 5, 6].sum().backward()
    own = x.grad[0, :, 5, 6].abs()
    assert (own > 0).all()
    assert not torch.equal(own, x.grad[0, :, 5, 7].abs())  # which a stem that only averages could not tell apart


@pytest.mark.parametrize("encoder", ["resnet18", "mobilenetv3_small_100", "rexnet_100", "xception41"])
def test_no_batch_norm_is_left_and_a_group_has_more_than_one_value_at_one_pixel(encoder):
    norms = [m for m in built(encoder=encoder).modules() if isinstance(m, _BatchNorm | nn.GroupNorm)]
    assert norms
    for norm in norms:
        assert isinstance(norm, nn.GroupNorm)
        assert norm.num_groups in (1, *range(2, 33))
        assert norm.num_groups == 1 or norm.num_channels // norm.num_groups >= 4


def test_group_norms_keep_weights_and_activations_of_batch_norms():
    torch.manual_seed(1)
    batch = timm.create_model("test_efficientnet", features_only=True)
    with torch.no_grad():
        for norm in (m for m in batch.modules() if isinstance(m, _BatchNorm)):
            norm.weight.normal_()
            norm.bias.normal_()
    before = [(m.weight.clone(), m.bias.clone(), type(m.act)) for m in batch.modules() if isinstance(m, _BatchNorm)]
    encoder = TimmUNet(encoder="test_efficientnet").encoding(batch)
    after = [(m.weight, m.bias, type(m.act)) for m in encoder.modules() if isinstance(m, nn.GroupNorm)]
    assert len(before) == len(after) > 5
    for (a, b, act), (c, d, same) in zip(before, after):
        assert torch.equal(a, c)
        assert torch.equal(b, d)
        assert act is same


def test_an_encoder_that_is_pretrained_and_frozen_gives_the_features_of_timm(weights):
    encoder = inner(rddm.build(spec(encoder="test_resnet", pretrained=str(weights))))
    own = timm.create_model("test_resnet", features_only=True).eval()
    own.load_state_dict(torch.load(weights, weights_only=True), strict=False)
    assert not any(isinstance(m, _BatchNorm) for m in encoder.modules())
    image = torch.randn(1, 3, 64, 64)
    # the state and its condition share the first convolution's weights, so that equal images give what one did
    for a, b in zip(encoder.train()(image.repeat(1, 2, 1, 1)), own(image)):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_pretrained_weights_under_group_norms_are_those_of_the_file(weights):
    state = torch.load(weights, weights_only=True)
    found = inner(rddm.build(spec(encoder="test_resnet", pretrained=str(weights), norm="group"))).state_dict()
    same = [key for key in found if torch.equal(found[key], state.get(key, torch.empty(0)))]
    assert set(found) - set(same) == {"conv1.0.weight"}  # widened to six channels


def test_a_trained_model_is_loaded_without_the_weights_that_it_started_from(weights, tmp_path):
    trainer = rddm.build(spec(encoder="test_resnet", pretrained=str(weights)))
    with torch.no_grad():
        for parameter in trainer[Network].parameters():
            parameter.add_(0.1)
    trainer.save(tmp_path / "model")
    weights.unlink()
    loaded = rddm.load(tmp_path / "model", "cpu")
    image = torch.rand(3, 33, 40)
    assert torch.equal(loaded.restore(image), trainer.restore(image))
    with pytest.raises(SpecError, match=r"  pretrained: .*weights.pth does not fit 'test_resnet'"):
        rddm.build(loaded[rddm.Spec])


def test_a_checkpoint_of_another_network_is_refused(weights):
    for encoder in ("test_convnext", "resnet18"):
        with pytest.raises(SpecError, match=f"  pretrained: .*weights.pth does not fit {encoder!r}"):
            rddm.build(spec(encoder=encoder, pretrained=str(weights)))
    torch.save({"conv1.0.weight": torch.load(weights, weights_only=True)["conv1.0.weight"]}, weights)
    with pytest.raises(SpecError, match=r"  pretrained: .*\(it has no conv1\.1|lacks \d+ of the weights\)"):
        rddm.build(spec(encoder="test_resnet", pretrained=str(weights)))


def test_without_a_network_the_error_says_what_to_fetch(monkeypatch, tmp_path):
    def unreachable(*_: object) -> bool:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(_timm, "file_exists", unreachable)
    monkeypatch.setattr(_timm, "try_to_load_from_cache", lambda *_: None)
    with pytest.raises(SpecError, match=r"  pretrained: .*no route to host.*fetch .* of timm/test_resnet"):
        rddm.build(spec(encoder="test_resnet", pretrained=True))


def test_weights_that_timm_does_not_have_are_an_error():
    with pytest.raises(SpecError, match="  pretrained: timm cannot get weights of 'convnext_atto_rms'.*say false"):
        TimmUNet(encoder="convnext_atto_rms", pretrained=True).initialise(built())


def test_the_choice_of_weights_survives_a_round_trip_through_yaml(weights):
    for value in (True, False, weights):
        recipe = TimmUNet(encoder="test_resnet", pretrained=value)
        assert TimmUNet.model_validate_json(recipe.model_dump_json()) == recipe
        assert type(recipe.pretrained) is type(value)
