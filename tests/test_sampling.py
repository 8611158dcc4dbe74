"""Restoring tensors: shapes, sizes, determinism, options and their errors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import REQUIRED

import rddm
from rddm import DataError, ShapeError, SpecError
from rddm.core import registry
from rddm.core.kinds import Backbone, Sampler
from rddm.core.network import Network
from rddm.core.process import Path
from rddm.core.systems.sample import another_sampler
from rddm.core.systems.trajectory import trajectory
from rddm.grids.uniform import Uniform
from rddm.samplers.auto import Auto
from rddm.samplers.bridge import Bridge
from rddm.schedules.power import Power
from rddm.testing.strategies import built_in

#: Every backbone with one sampler, and every sampler with one backbone.
PAIRS = sorted(
    {("sm-res-n", name) for name in built_in("backbone")} | {(name, "nafnet") for name in built_in("sampler")}
)
SMALL = {
    "nafnet": {"width": 8, "enc_blocks": [1], "middle_blocks": 1, "dec_blocks": [1]},
    "unet": {"width": 16, "multipliers": [1, 2]},
}


def trainer_of(sampler="sm-res-n", backbone="nafnet", channels=3, **keys):
    sampler = {"name": sampler, "steps": 3} | REQUIRED.get(("sampler", sampler), {}) | keys
    trainer = rddm.build(
        {
            "task": {"name": "paired", "train": "a", "eval": "b", "channels": channels},
            "sampler": sampler,
            "backbone": {"name": backbone, **SMALL.get(backbone, {})},
        }
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # an untrained output layer may be zero, which would hide everything
        for parameter in trainer[Network].parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return trainer


@pytest.fixture(scope="module")
def trainer():
    return trainer_of()


@pytest.mark.parametrize(("sampler", "backbone"), PAIRS)
def test_every_sampler_and_backbone_restores_any_size(sampler, backbone):
    trainer = trainer_of(sampler, backbone)
    for size in ((43, 29), (1, 1), (8, 64), (2, 33)):
        image = torch.rand(3, *size)
        restored = trainer.restore(image)
        assert restored.shape == image.shape
        assert restored.dtype == image.dtype
        assert restored.isfinite().all()
        assert 0 <= restored.min() <= restored.max() <= 1


@settings(max_examples=15)
@given(
    st.integers(0, 2**31), st.integers(1, 4), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from(["sm-res", "sm-res-n"])
)
def test_an_image_is_restored_the_same_alone_and_in_any_batch(seed, count, eta, sampler):
    trainer = trainer_of(sampler)
    batch = torch.rand(count, 3, 13, 10, generator=torch.Generator().manual_seed(seed))
    together = trainer.restore(batch, eta=eta, generator=torch.Generator().manual_seed(seed))
    alone = [trainer.restore(image, eta=eta, generator=torch.Generator().manual_seed(seed)) for image in batch]
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-5, rtol=0)


def test_one_generator_for_each_image_gives_each_its_own_noise(trainer):
    image = torch.rand(3, 12, 12)
    batch = image.expand(2, -1, -1, -1)
    generators = [torch.Generator().manual_seed(s) for s in (0, 1)]
    pair = trainer.restore(batch, generator=generators)
    assert not torch.equal(pair[0], pair[1])
    torch.testing.assert_close(
        pair[1], trainer.restore(image, generator=torch.Generator().manual_seed(1)), atol=1e-5, rtol=0
    )
    with pytest.raises(ShapeError, match="one for each of the 2 images; given 1"):
        trainer.restore(batch, generator=generators[:1])


def test_without_a_generator_the_result_is_always_the_same_and_no_global_state_changes(trainer):
    image = torch.rand(3, 12, 12)
    before = torch.get_rng_state()
    assert torch.equal(trainer.restore(image, eta=1), trainer.restore(image, eta=1))
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(trainer.restore(image), trainer.restore(image, generator=torch.Generator().manual_seed(5)))


def test_the_start_noise_can_be_given(trainer):
    image = torch.rand(2, 3, 9, 9)
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(3))
    given = trainer.restore(image, noise=noise)
    assert not torch.equal(given, trainer.restore(image))
    torch.testing.assert_close(given[0], trainer.restore(image[0], noise=noise[0]), atol=1e-5, rtol=0)
    drawn = torch.randn(1, 3, 9, 9, generator=torch.Generator().manual_seed(7))
    assert torch.equal(
        trainer.restore(image[:1], noise=drawn), trainer.restore(image[:1], generator=torch.Generator().manual_seed(7))
    )
    with pytest.raises(ShapeError, match="noise must be shaped like"):
        trainer.restore(image, noise=noise[:, :, :4])


def test_a_network_with_both_heads_samples_by_every_method_and_one_head_says_what_is_missing(trainer):
    image = torch.rand(3, 12, 12)
    results = [trainer.restore(image, sampler=name) for name in ("sm-res-n", "sm-res", "sm-n")]
    assert torch.equal(results[0], trainer.restore(image))
    assert not torch.equal(results[0], results[1])
    other = trainer.replace(registry.load(Sampler, "sm-res")(steps=3))
    assert torch.equal(results[1], other.restore(image))
    single = trainer_of("sm-res")
    with pytest.raises(SpecError, match=r"sm-n needs the heads \['noise'\]; this network has \['res'\]"):
        single.restore(image, sampler="sm-n")
    with pytest.raises(SpecError, match="unknown sampler 'sm-resn'"):
        single.restore(image, sampler="sm-resn")


def test_only_the_network_of_the_wanted_head_is_evaluated(trainer):
    calls = []
    hooks = [
        net.register_forward_hook(lambda *_, key=key: calls.append(key)) for key, net in trainer[Network].nets.items()
    ]
    trainer.restore(torch.rand(3, 8, 8), sampler="sm-res", steps=2)
    for hook in hooks:
        hook.remove()
    assert calls == ["res", "res"]


def test_one_network_can_hold_both_heads():
    trainer = trainer_of(nets=1)
    assert list(trainer[Network].nets) == ["res_noise"]
    assert trainer.restore(torch.rand(3, 11, 7)).shape == (3, 11, 7)


def test_the_path_clock_tells_each_network_its_own_time():
    trainer = trainer_of(clock="path")
    path = trainer[Path]
    times = trainer[Network].times(path.T, path[500])
    assert times["res"].item() == pytest.approx(path.B[500].item() * 1000, rel=1e-6)
    assert times["noise"].item() == pytest.approx(path.C[500].item() * 1000, rel=1e-6)
    assert trainer_of(clock="path", nets=1)[Network].times(path.T, path[500])["res_noise"].shape == (1, 2)
    assert trainer.restore(torch.rand(3, 8, 8)).isfinite().all()


@pytest.mark.parametrize(("sampler", "backbone"), PAIRS)
def test_without_noise_and_with_one_step_everything_is_still_defined(sampler, backbone):
    spec = {
        "task": {"name": "paired", "train": "a", "eval": "b"},
        "schedule": {"name": "power", "beta_T2": 0, "T": 2},
        "sampler": {"name": sampler, "steps": 2, **REQUIRED.get(("sampler", sampler), {})},
        "backbone": {"name": backbone, **SMALL.get(backbone, {})},
    }
    if sampler == "v":  # where neither image nor noise is left, v is 0 times one and 0 times the other
        with pytest.raises(SpecError, match="dependent equations"):
            rddm.build(spec)
        return
    trainer = rddm.build(spec)
    for options in ({"eta": 0.0}, {"eta": 1.0}, {"steps": 1}):
        assert trainer.restore(torch.rand(3, 8, 8), **options).isfinite().all()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"schedule": "bbdm", "sampler": "v"}, "dependent equations .* take another sampler or schedule"),
        ({"sampler": {"name": "sm-res-n", "route": "residual-first"}}, "train one with sampler.clock=path"),
        ({"sampler": {"name": "auto", "route": "residual-first"}}, "train one with sampler.clock=path"),
        ({"schedule": "cold-blur", "sampler": {"name": "sm-x0", "clock": "path"}}, "use 'index'"),
        ({"sampler": {"name": "sm-x0", "solver": "heun", "eta": 0.5}}, "must be 0 for the solver heun"),
    ],
)
def test_what_could_not_be_sampled_from_is_refused_before_it_is_trained(parts, message):
    with pytest.raises(SpecError, match=message):
        rddm.build({"task": {"name": "paired", "train": "a", "eval": "b"}, **parts})


def test_the_trajectory_goes_from_noise_on_the_input_to_the_clean_image(trainer):
    x_in = torch.rand(1, 3, 8, 8) * 2 - 1
    with torch.inference_mode():
        states = list(trajectory(trainer, x_in, steps=4))
    assert [state.step for state in states] == [1, 2, 3, 4]
    torch.testing.assert_close(states[-1].x, states[-1].prediction.x0)
    assert states[-1].x.abs().max() <= 1


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.rand(1, 8, 8), r"\(B, 3, H, W\) or \(3, H, W\); given \(1, 8, 8\)"),
        (torch.rand(8, 8), r"given \(8, 8\)"),
        (torch.rand(3, 0, 8), r"given \(3, 0, 8\)"),
        ((torch.rand(3, 8, 8) * 255).byte(), "divide 8-bit images by 255"),
        (torch.rand(3, 8, 8) * 255, r"must be in \[0, 1\]; its values span"),
        (torch.rand(3, 8, 8) * 2 - 1, r"must be in \[0, 1\]"),
        (torch.full((3, 8, 8), torch.nan), r"must be in \[0, 1\]"),
    ],
)
def test_what_is_no_image_is_refused_with_what_was_given(trainer, image, message):
    with pytest.raises(ShapeError, match=message):
        trainer.restore(image)


def test_wrong_types_are_refused_with_what_was_given(trainer):
    image = torch.rand(3, 8, 8)
    with pytest.raises(ShapeError, match="torch tensor in .0, 1.; given ndarray"):
        trainer.restore(image.numpy())
    for options in ({"generator": 3}, {"noise": image.numpy()}, {"steps": 2.0}, {"steps": "3"}, {"sampler": 5}):
        with pytest.raises(rddm.RddmError, match=r"given|torch tensor"):
            trainer.restore(image, **options)
    for device in ("nothing", "meta", "cuda:99"):
        with pytest.raises(SpecError, match="is not there; this machine has"):
            trainer.to(device)


def test_a_replaced_part_takes_effect_and_is_saved(trainer, tmp_path):
    from rddm.schedules.power import Power

    image = torch.rand(3, 8, 8)
    other = trainer.replace(Power(T=50, beta_T2=0.1), trainer[Sampler].__class__(steps=2))
    assert other[Path].T == 50
    assert not torch.equal(other.restore(image), trainer.restore(image))
    other.save(tmp_path / "other")
    loaded = rddm.load(tmp_path / "other", "cpu")
    assert torch.equal(loaded.restore(image), other.restore(image))
    assert loaded[Sampler].steps == 2
    single = trainer.replace(registry.load(Sampler, "sm-res")(steps=4))
    single.save(tmp_path / "single")
    assert rddm.load(tmp_path / "single", "cpu")[Sampler].name == "sm-res-n"
    with pytest.raises(SpecError, match=r"rddm\.build"):
        trainer.replace(registry.load(Backbone, "unet")())


@pytest.mark.parametrize("name", ["bridge", "auto"])
def test_what_a_table_does_not_say_of_the_same_method_stays(name):
    own = {"bridge": Bridge(scaled=True, nets=1), "auto": Auto(decision="sm-n", decided_at=7)}[name]
    other = another_sampler(own, {"steps": 2})
    assert other == own.model_copy(update={"steps": 2})
    assert another_sampler(own, name) == own


@pytest.mark.parametrize(
    ("options", "message"),
    [({"steps": 0}, r"1\.\.1000"), ({"steps": 1001}, r"1\.\.1000.*given 1001"), ({"eta": 1.5}, r"\[0, 1\]; given 1.5")],
)
def test_options_out_of_range_are_refused(trainer, options, message):
    with pytest.raises(SpecError, match=message):
        trainer.restore(torch.rand(3, 8, 8), **options)


def test_grey_models_restore_grey_images():
    assert trainer_of(channels=1).restore(torch.rand(2, 1, 9, 9)).shape == (2, 1, 9, 9)


def test_half_precision_images_come_back_as_they_came(trainer):
    assert trainer.restore(torch.rand(3, 8, 8, dtype=torch.float64)).dtype == torch.float64
    assert trainer.restore(torch.rand(3, 8, 8).half()).dtype == torch.float16


def test_the_default_grid_is_that_of_the_paper(trainer):
    assert Uniform().times(Power().path(), 5) == [1000, 800, 600, 400, 200, 0]
    assert Uniform().times(Power(T=10).path(), 3) == [10, 6, 3, 0]


def test_the_same_seed_builds_the_same_network_whatever_was_drawn_before():
    torch.manual_seed(1)
    one = rddm.build({"task": {"name": "paired", "train": "a", "eval": "b"}, "backbone": "nafnet"})
    torch.manual_seed(2)
    two = rddm.build({"task": {"name": "paired", "train": "a", "eval": "b"}, "backbone": "nafnet"})
    for a, b in zip(one[Network].parameters(), two[Network].parameters(), strict=True):
        assert torch.equal(a, b)
    assert one[Backbone] == two[Backbone]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_restores_what_the_cpu_restores(trainer):
    image = torch.rand(2, 3, 20, 17)
    want = trainer.restore(image)
    got = trainer.to("cuda").restore(image)
    trainer.to("cpu")
    torch.testing.assert_close(got, want, atol=2e-3, rtol=0)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_1_does_not_mean_all(trainer, limit):
    with pytest.raises(DataError, match=f"limit must be at least 1.*given {limit}"):
        trainer.evaluate(limit=limit)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eta": "a"}, r"sampler\.eta: must be a number in \[0, 1\]; given 'a'"),
        ({"steps": "5"}, r"sampler\.steps: must be an integer in 1\.\.1000.*given '5'"),
        ({"noise": torch.full((3, 8, 8), torch.nan)}, "noise must be floating point and finite; .*192 values"),
        ({"noise": torch.zeros(3, 8, 8, dtype=torch.cfloat)}, "noise must be floating point.*complex64"),
        ({"sampler": {"nets": 1}}, r"sampler\.nets: is of the network that was trained, nets: 2"),
        ({"sampler": {"name": "sm-res", "clock": "path"}}, r"sampler\.clock: is of the network.*clock: index"),
    ],
)
def test_options_that_mean_nothing_are_refused_in_one_sentence(trainer, options, message):
    with pytest.raises(rddm.RddmError, match=message):
        trainer.restore(torch.rand(3, 8, 8), **options)


@pytest.mark.parametrize("size", [8, (8,), (0, 8), (8, 8, 8), "8x8"])
def test_a_profile_is_of_an_image_size(trainer, size):
    with pytest.raises(ShapeError, match="size must be 2 sides in pixels"):
        trainer.profile(size)


def test_no_folder_is_no_model():
    with pytest.raises(rddm.CheckpointError, match="give the folder of a run; given None"):
        rddm.load(None)
