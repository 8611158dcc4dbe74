"""Models, schedules and pipelines of diffusers: there and back, to rounding."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from diffusers import (
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    UNet2DConditionModel,
    UNet2DModel,
)
from typer.testing import CliRunner

import rddm
from rddm.backbones.diffusers import Diffusers
from rddm.convert import RDDMScheduler, from_diffusers
from rddm.core.errors import SpecError
from rddm.core.kinds import Sampler
from rddm.core.network import Network
from rddm.core.process import Path as ProcessPath
from rddm.core.systems.trajectory import trajectory
from rddm.grids.spaced import Spaced
from rddm.schedules.ddim import DDIM
from rddm.schedules.power import Power

T = 40
BETAS = {"num_train_timesteps": T, "beta_end": 0.2}
SMALL = {
    "sample_size": 8,
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": (8, 16),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "norm_num_groups": 4,
    "layers_per_block": 1,
    "attention_head_dim": 4,
}
SPACINGS = ("leading", "trailing", "linspace")


def unet_of(**changes):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return UNet2DModel(**{**SMALL, **changes}).eval()


def noise_of(dtype=torch.float32, count=2):
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(5), dtype=dtype)


def generators(count=2):
    return [torch.Generator().manual_seed(seed) for seed in range(count)]


def quiet(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def pair(cls, **config):
    """A float64 model with a scheduler whose tables are float64, too, and the trainer made from both."""
    unet, scheduler = unet_of(), cls(**{**BETAS, **config})
    trainer = from_diffusers(unet, scheduler)
    trainer[Network].double()
    scheduler.alphas_cumprod = trainer[ProcessPath].A[1:] ** 2  # diffusers rounds to float32
    one = torch.ones((), dtype=torch.float64)
    scheduler.one = one
    if cls is DDIMScheduler:
        scheduler.final_alpha_cumprod = one if scheduler.config.set_alpha_to_one else scheduler.alphas_cumprod[0]
    unet.to(torch.float64)
    return unet, scheduler, trainer


def theirs(unet, scheduler, steps, **options):
    scheduler.set_timesteps(steps)
    x = noise_of(torch.float64)
    with torch.inference_mode():
        for t in scheduler.timesteps:
            x = scheduler.step(unet(x, t).sample, t, x, **options).prev_sample
    return x


def ours(trainer, steps, **options):
    noise = noise_of(torch.float64)
    with torch.inference_mode():
        return [s.x for s in trajectory(trainer, torch.zeros_like(noise), noise=noise, steps=steps, **options)][-1]


@pytest.mark.parametrize("length", [1000, 37])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_spaced_times_are_the_timesteps_of_diffusers_for_every_number_of_steps(spacing, length):
    path, scheduler = DDIM(T=length).path(), DDIMScheduler(length, timestep_spacing=spacing)
    for steps in range(1, length + 1):
        scheduler.set_timesteps(steps)
        timesteps = scheduler.timesteps[:steps]  # of trailing ones it has one more, -1, where rounding so wills
        assert Spaced(spacing=spacing).times(path, steps) == [*(timesteps + 1).tolist(), 0], steps


def test_spaced_times_in_numbers():
    path = DDIM().path()
    assert Spaced().times(path, 3) == [667, 334, 1, 0]
    assert Spaced(offset=1, end=1).times(path, 3) == [668, 335, 2, 1]
    assert Spaced(spacing="trailing").times(path, 3) == [1000, 667, 333, 0]
    assert Spaced(spacing="linspace").times(path, 3) == [1000, 501, 1, 0]
    with pytest.raises(SpecError, match="end: makes the last of 3 steps one from t = 1 to t = 1"):
        Spaced(end=1).times(path, 3)
    with pytest.raises(SpecError, match="offset: starts 1000 steps at t = 1001, beyond T = 1000"):
        Spaced(offset=1).times(path, 1000)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize(
    ("spacing", "steps"), [("leading", 7), ("leading", T), ("trailing", 10), ("trailing", T), ("linspace", T)]
)
def test_a_converted_ddim_draws_the_images_of_diffusers(prediction, clip, spacing, steps):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        unet, scheduler, trainer = pair(
            DDIMScheduler, prediction_type=prediction, clip_sample=clip, timestep_spacing=spacing
        )
    for eta in (0.0, 0.6):
        want = theirs(unet, scheduler, steps, eta=eta, generator=generators())
        torch.testing.assert_close(
            ours(trainer, steps, eta=eta**2, generator=generators()), want, rtol=1e-10, atol=1e-10
        )


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_converted_ddpm_draws_the_images_of_diffusers(prediction, clip, spacing):
    unet, scheduler, trainer = pair(
        DDPMScheduler, prediction_type=prediction, clip_sample=clip, timestep_spacing=spacing
    )
    assert (trainer[Sampler].eta, trainer[Sampler].steps) == (1.0, T)
    for steps in (7, 10):
        want = theirs(unet, scheduler, steps, generator=generators())
        # it adds noise of variance 1e-20 in the last step
        torch.testing.assert_close(ours(trainer, steps, generator=generators()), want, rtol=1e-8, atol=2e-9)


def test_the_noise_follows_from_the_clipped_image_in_ddpm_and_not_in_ddim():
    unet, scheduler, trainer = pair(DDIMScheduler)
    plain, clipped = (theirs(unet, scheduler, 8, use_clipped_model_output=own) for own in (False, True))
    assert (plain - clipped).abs().max() > 1e-2
    torch.testing.assert_close(ours(trainer, 8), plain, rtol=1e-10, atol=1e-10)
    solver = from_diffusers(unet_of(), DDPMScheduler(**BETAS))[Sampler].solver
    posterior = trainer.replace(trainer[Sampler].model_copy(update={"solver": solver}))
    torch.testing.assert_close(ours(posterior, 8), clipped, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("config", "end"),
    [
        ({"steps_offset": 1, "set_alpha_to_one": False}, 1),
        ({"steps_offset": 1}, 0),
        ({"set_alpha_to_one": False, "timestep_spacing": "trailing"}, 1),
    ],
)
@pytest.mark.filterwarnings("ignore:with (steps_offset|timestep_spacing):UserWarning")
def test_offset_and_last_alpha_become_the_ends_of_the_grid(config, end):
    unet, scheduler, trainer = pair(DDIMScheduler, **config)
    assert trainer[Sampler].grid.times(trainer[ProcessPath], 5)[-1] == end
    torch.testing.assert_close(ours(trainer, 5), theirs(unet, scheduler, 5), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("spacing", "steps"), [("trailing", 7), ("linspace", 10)])
def test_where_ddim_of_diffusers_misses_its_own_timesteps_it_is_said_and_ours_goes_to_them(spacing, steps):
    with pytest.warns(UserWarning, match=rf"timestep_spacing='{spacing}' DDIMScheduler steps from t to t - floor"):
        unet, scheduler, trainer = pair(DDIMScheduler, timestep_spacing=spacing, clip_sample=False)
    scheduler.set_timesteps(steps)
    x, one = noise_of(torch.float64), torch.ones((), dtype=torch.float64)
    with torch.inference_mode():
        for t, s in itertools.pairwise([*scheduler.timesteps.tolist(), None]):
            a, b = scheduler.alphas_cumprod[t], one if s is None else scheduler.alphas_cumprod[s]
            e = unet(x, t).sample
            x = b.sqrt() * (x - (1 - a).sqrt() * e) / a.sqrt() + (1 - b).sqrt() * e
    torch.testing.assert_close(ours(trainer, steps), x, rtol=1e-10, atol=1e-10)
    assert (theirs(unet, scheduler, steps) - x).abs().max() > 1e-3


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"beta_schedule": "scaled_linear"},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"trained_betas": [0.01 * (1 + k % 3) for k in range(T)]},
        {"beta_schedule": "sigmoid"},
        {"beta_schedule": "laplace"},
        {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"},
    ],
)
def test_the_path_has_the_signal_and_noise_of_the_scheduler(config):
    scheduler = DDPMScheduler(**{**BETAS, **config})
    path = from_diffusers(unet_of(), scheduler)[ProcessPath]
    torch.testing.assert_close(path.A[1:] ** 2, scheduler.alphas_cumprod.double(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(path.C[1:] ** 2, 1 - scheduler.alphas_cumprod.double(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("prediction", ["v_prediction", "sample"])
@pytest.mark.filterwarnings("ignore:with timestep_spacing:UserWarning")
def test_a_path_that_ends_in_pure_noise_draws_the_images_of_diffusers(prediction):
    unet, scheduler, trainer = pair(
        DDIMScheduler, prediction_type=prediction, rescale_betas_zero_snr=True, timestep_spacing="trailing"
    )
    assert trainer[ProcessPath].A[-1] == 0
    torch.testing.assert_close(ours(trainer, 10), theirs(unet, scheduler, 10), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.float16, 5e-2)])
def test_sample_gives_what_the_pipeline_gives(dtype, close):
    unet, scheduler = unet_of().to(dtype), DDIMScheduler(**BETAS, prediction_type="v_prediction")
    trainer = from_diffusers(unet, scheduler)
    pipeline = quiet(DDIMPipeline(unet, scheduler))
    want = pipeline(2, torch.Generator().manual_seed(5), num_inference_steps=7, output_type="pt").images
    noise = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(5), dtype=dtype)
    torch.testing.assert_close(trainer.sample(noise=noise, steps=7), want.float(), rtol=0, atol=close)
    assert want.std() > 0.1
    assert trainer.sample(count=1).shape == (1, 1, 8, 8)  # the size that the model was made for


def test_a_converted_model_is_saved_loaded_sampled_along_other_schedules_and_left_alone(tmp_path):
    unet = unet_of()
    before = {key: value.clone() for key, value in unet.state_dict().items()}
    trainer, noise = from_diffusers(unet, DDIMScheduler(**BETAS)), noise_of()
    trainer.save(tmp_path / "run")
    loaded = rddm.load(tmp_path / "run", "cpu")
    for sampler in (
        None,
        {"route": {"name": "schedule", "schedule": {"name": "power", "T": T}}},
        {"route": {"name": "schedule", "schedule": {"name": "ddim", "T": T}}, "grid": "uniform"},
        {"solver": "multistep"},
    ):
        images = trainer.sample(noise=noise, steps=5, sampler=sampler)
        assert torch.equal(loaded.sample(noise=noise, steps=5, sampler=sampler), images)
        assert images.std() > 0.01
        assert sampler is None or not torch.equal(images, trainer.sample(noise=noise, steps=5))
    with torch.no_grad():
        next(trainer[Network].parameters()).zero_()
    assert all(torch.equal(value, before[key]) for key, value in unet.state_dict().items())


@pytest.mark.parametrize(
    ("unet", "scheduler", "message"),
    [
        ({}, DDIMScheduler(thresholding=True), "scheduler: thresholding is not supported"),
        ({}, DDIMScheduler(clip_sample_range=2.0), "clip_sample_range must be 1, .*; given 2.0"),
        ({}, DDPMScheduler(variance_type="fixed_large"), "variance_type .*'fixed_large'.*DDIMScheduler.from_config"),
        ({}, DDPMScheduler(variance_type="learned_range"), "variance_type .*'learned_range'"),
        ({}, DDIMScheduler(set_alpha_to_one=False), "set_alpha_to_one makes the last step one from t = 0 to t = 0"),
        ({}, DDIMScheduler(rescale_betas_zero_snr=True), "rescale_betas_zero_snr leaves no trace of the image"),
        ({}, DDIMScheduler(trained_betas=[0.1] * 10), "num_train_timesteps must be .* 10; given 1000"),
        ({}, PNDMScheduler(), "scheduler: must be a DDPMScheduler or DDIMScheduler; given PNDMScheduler"),
        ({"out_channels": 2}, DDIMScheduler(), "unet: out_channels must be 1, .*; given 2"),
        ({"num_class_embeds": 3}, DDIMScheduler(), "backbone.config: must have no classes"),
        ({"time_embedding_type": "fourier"}, DDIMScheduler(), "backbone.config: must have time_embedding_type"),
    ],
)
def test_what_has_no_counterpart_is_refused(unet, scheduler, message):
    with pytest.raises(SpecError, match=message):
        from_diffusers(unet_of(**unet), scheduler)


def test_a_range_of_clipping_that_is_not_used_is_no_problem():
    trainer = from_diffusers(unet_of(), DDIMScheduler(clip_sample=False, clip_sample_range=2.0))
    assert trainer[Sampler].clip == "none"


def test_models_that_see_text_are_refused():
    model = UNet2DConditionModel(
        block_out_channels=(32, 64),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        cross_attention_dim=8,
    )
    with pytest.raises(SpecError, match="unet: must be a UNet2DModel, .*; given UNet2DConditionModel"):
        from_diffusers(model, DDIMScheduler())


@pytest.mark.parametrize(
    ("config", "times", "message"),
    [
        ({"block_out_channels": [8, 16, 32]}, 1, "config: does not fit UNet2DModel: .*same number"),
        ({"widths": [8]}, 1, "config: does not fit UNet2DModel: .*widths"),
        ({"in_channels": 4}, 1, "config.in_channels: must be 1, which task and sampler ask for; given 4"),
        ({"time_embedding_type": "learned", "num_train_timesteps": T}, 2, "takes one time, .*; the sampler tells 2"),
        ({}, 3, "takes one time, .*; the sampler tells 3"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(config, times, message):
    with pytest.raises(SpecError, match=message):
        Diffusers(config={**SMALL, **config}).build(1, 1, times)


def test_a_learned_time_is_told_as_an_index():
    changes = {"time_embedding_type": "learned", "num_train_timesteps": T}
    unet = unet_of(**changes)
    net = Diffusers(config={**SMALL, **changes}).build(1, 1, 1).eval()
    net.unet.load_state_dict(unet.state_dict())
    x = noise_of()
    with torch.inference_mode():
        for t in (1, T):
            assert torch.equal(net(x, torch.full((2, 1), float(t))), unet(x, t - 1).sample)


def test_without_diffusers_every_way_in_says_what_to_install(monkeypatch, tmp_path):
    from rddm.convert.diffusers import convert

    recipe = Diffusers()
    monkeypatch.setitem(sys.modules, "diffusers", None)
    for call in (
        lambda: recipe.build(3, 3, 1),
        lambda: from_diffusers(None, None),
        lambda: convert(tmp_path, tmp_path / "run"),
    ):
        with pytest.raises(rddm.RddmError, match=r"pip install 'residual-diffusion\[diffusers\]'"):
            call()
    monkeypatch.delitem(sys.modules, "rddm.convert.scheduler")
    with pytest.raises(ImportError, match=r"pip install 'residual-diffusion\[diffusers\]'"):
        rddm.convert.RDDMScheduler  # noqa: B018


def test_the_package_and_the_commands_help_need_neither_torch_nor_diffusers():
    code = "import sys, rddm.convert, rddm.cli; assert not {'torch', 'diffusers'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        rddm.convert.nothing  # noqa: B018


@pytest.mark.parametrize("eta", [0.0, 0.5])
@pytest.mark.parametrize("clipped", [None, True])
@pytest.mark.parametrize(("prediction", "sampler"), [("epsilon", "sm-n"), ("v_prediction", "v"), ("sample", "sm-x0")])
def test_a_pipeline_with_our_scheduler_draws_what_it_draws_with_that_of_diffusers(eta, clipped, prediction, sampler):
    unet, scheduler = unet_of(), DDIMScheduler(**BETAS, prediction_type=prediction)
    pipeline = quiet(DDIMPipeline(unet, scheduler))
    options = {"eta": eta, "use_clipped_model_output": clipped, "num_inference_steps": 7, "output_type": "pt"}
    want = pipeline(2, torch.Generator().manual_seed(1), **options).images
    pipeline.scheduler = RDDMScheduler(
        {"name": "ddim", "T": T, "beta_end": 0.2}, {"name": sampler, "grid": {"name": "spaced"}}
    )
    got = pipeline(2, torch.Generator().manual_seed(1), **options).images
    torch.testing.assert_close(got, want, rtol=0, atol=1e-4)


@pytest.mark.parametrize("solver", ["first-order", "multistep"])
def test_a_pipeline_along_power_draws_what_rddm_draws(solver):
    unet = unet_of()
    sampler = {"name": "sm-n", "solver": solver}
    trainer = rddm.build(
        {
            "task": {"name": "generation", "channels": 1, "train": "a", "eval": "b"},
            "schedule": {"name": "power", "T": T},
            "sampler": sampler,
            "backbone": {"name": "diffusers", "config": SMALL},
        }
    )
    trainer[Network].nets["noise"].unet.load_state_dict(unet.state_dict())
    pipeline = quiet(DDPMPipeline(unet, RDDMScheduler({"name": "power", "T": T}, sampler)))
    for _ in range(2):  # nothing is left of one run in the next
        drawn = pipeline(2, torch.Generator().manual_seed(5), num_inference_steps=6, output_type="pt").images
        torch.testing.assert_close(drawn, trainer.sample(noise=noise_of(), steps=6), rtol=0, atol=1e-5)


def test_with_an_input_and_two_heads_a_loop_of_ones_own_restores():
    trainer = rddm.build(
        {
            "task": {"name": "generation", "channels": 1, "train": "a", "eval": "b"},
            "schedule": {"name": "power", "T": T, "beta_T2": 0.01},
            "sampler": {"name": "sm-res-n", "clip": "residual", "nets": 1},
            "backbone": {"name": "diffusers", "config": SMALL | {"out_channels": 2}},
        }
    )
    scheduler = RDDMScheduler(trainer[rddm.Spec].schedule.model_dump(), {"name": "sm-res-n", "clip": "residual"})
    x_in, noise = noise_of(count=4).tanh().chunk(2)[0], noise_of()
    scheduler.set_input(x_in).set_timesteps(5)
    assert scheduler.init_noise_sigma == pytest.approx(0.1)
    x = scheduler.start(noise)
    torch.testing.assert_close(x, x_in + 0.1 * noise)
    with torch.inference_mode():
        for t in scheduler.timesteps:
            seen = scheduler.scale_model_input(x, t)
            heads = trainer[Network].nets["res_noise"].unet(seen, t).sample
            x, x0 = scheduler.step(heads, t, x, return_dict=False)
        *_, last = trajectory(trainer, x_in, noise=noise, steps=5)
    torch.testing.assert_close(x, last.x, rtol=0, atol=1e-5)
    torch.testing.assert_close(x0, last.prediction.x0, rtol=0, atol=1e-5)


def test_noise_is_added_as_along_the_path():
    scheduler, path = RDDMScheduler({"name": "power", "T": T}), Power(T=T).path()
    x0, noise, x_in = torch.randn(3, 2, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    timesteps = torch.tensor([0, T - 1])
    A, B, C = (table[timesteps + 1].reshape(2, 1, 1, 1) for table in path.tables)
    torch.testing.assert_close(scheduler.add_noise(x0, noise, timesteps), A * x0 + C * noise)
    scheduler.set_input(x_in)
    torch.testing.assert_close(scheduler.add_noise(x0, noise, timesteps), A * x0 + B * x_in + C * noise)
    assert len(scheduler) == T
    ddim = DDIMScheduler(**BETAS)
    same = RDDMScheduler({"name": "ddim", "T": T, "beta_end": 0.2})
    torch.testing.assert_close(
        same.add_noise(x0, noise, timesteps), ddim.add_noise(x0, noise, timesteps), rtol=0, atol=1e-5
    )


def test_a_pipeline_with_our_scheduler_is_saved_and_read_back(tmp_path):
    scheduler = RDDMScheduler({"name": "power", "T": T}, {"name": "v", "eta": 0.5})
    pipeline = quiet(DDPMPipeline(unet_of(), scheduler))
    pipeline.save_pretrained(tmp_path)
    again = quiet(DDPMPipeline.from_pretrained(tmp_path))
    assert isinstance(again.scheduler, RDDMScheduler)
    assert again.scheduler.config["schedule"] == json.loads(Power(T=T).model_dump_json())
    options = {"num_inference_steps": 4, "output_type": "pt"}
    first, second = (one(1, torch.Generator().manual_seed(2), **options).images for one in (pipeline, again))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-5)


def test_a_step_that_cannot_be_taken_is_refused():
    x = noise_of()
    scheduler = RDDMScheduler({"name": "ddim", "T": T}, {"name": "sm-n", "solver": "heun"})
    scheduler.set_timesteps(4)
    assert scheduler.timesteps.tolist() == [39, 29, 19, 9]
    with pytest.raises(SpecError, match=r"timestep: visits \[39, 29, 19, 9\]; given 38"):
        scheduler.step(x, 38, x)
    with pytest.raises(SpecError, match="solver: 'heun' needs the network again within a step"):
        scheduler.step(x, 39, x)
    with pytest.raises(SpecError, match="steps: must be an integer in 1..40"):
        scheduler.set_timesteps(41)
    with pytest.raises(SpecError, match=r"eta: must be in \[0, 1\]; given 1.5"):
        scheduler.step(x, 39, x, eta=1.5)


@pytest.mark.parametrize(
    ("schedule", "sampler", "message"),
    [
        ("cold-blur", "sm-res", "schedule: 'cold-blur' acts on frequencies"),
        ("power", {"name": "sm-res", "route": "residual-first"}, r"sampler\.route: leaves the states"),
        ("power", {"name": "sm-res", "route": {"name": "schedule", "schedule": {"name": "power", "T": 5}}}, "route"),
    ],
)
def test_what_no_pipeline_can_follow_is_refused(schedule, sampler, message):
    with pytest.raises(SpecError, match=message):
        RDDMScheduler(schedule, sampler)


def cli(*words):
    from rddm.cli import app

    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipelines")
    large = DDPMScheduler(**BETAS, variance_type="fixed_large", prediction_type="v_prediction")
    DDPMPipeline(unet_of(), large).save_pretrained(folder / "large")
    DDPMPipeline(unet_of(), EulerDiscreteScheduler(T)).save_pretrained(folder / "euler")
    DDPMPipeline(unet_of(), RDDMScheduler()).save_pretrained(folder / "rddm")
    DDIMPipeline(unet_of(), DDIMScheduler(**BETAS, prediction_type="v_prediction")).save_pretrained(folder / "ddim")
    latent = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
    for name, index in (("latent", latent | {"scheduler": ["diffusers", "PNDMScheduler"]}), ("odd", {"unet": 1})):
        (folder / name).mkdir()
        (folder / name / "model_index.json").write_text(json.dumps(index))
    (folder / "torn").mkdir()
    (folder / "torn" / "model_index.json").write_bytes((folder / "ddim" / "model_index.json").read_bytes())
    return folder


def test_the_command_writes_a_run_that_draws_the_pipelines_images(saved, tmp_path):
    done = cli("convert", "diffusers", saved / "ddim", "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "task generation, schedule ddim, sampler v, backbone diffusers; " in done.output
    assert "assumed: the folder data/train for task.train" in done.output
    pipeline = quiet(DDIMPipeline.from_pretrained(saved / "ddim"))
    want = pipeline(2, torch.Generator().manual_seed(5), num_inference_steps=8, output_type="pt").images
    got = rddm.load(tmp_path / "run", "cpu").sample(noise=noise_of(), steps=8)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5)
    again = cli("convert", "diffusers", saved / "ddim", "--out", tmp_path / "run")
    assert again.exit_code == 2
    assert "exists" in again.output
    assert cli("convert", "diffusers", saved / "ddim", "--out", tmp_path / "run", "--overwrite").exit_code == 0


@pytest.mark.parametrize("name", ["large", "euler"])
def test_the_command_takes_related_schedulers_for_ddim_when_asked(saved, tmp_path, name):
    refused = cli("convert", "diffusers", saved / name, "--out", tmp_path / "run")
    assert refused.exit_code == 2
    assert "--ddim" in refused.output
    done = cli("convert", "diffusers", saved / name, "--out", tmp_path / "run", "--ddim")
    assert done.exit_code == 0, done.output
    assert rddm.load(tmp_path / "run", "cpu")[Sampler].eta == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "is no saved pipeline: it has no model_index.json; give the folder that save_pretrained wrote"),
        ("latent", "holds a StableDiffusionPipeline with a UNet2DConditionModel; supported are DDPMPipeline and"),
        ("odd", "names no pipeline with a unet and a scheduler"),
        ("torn", "torn cannot be read: "),
        ("rddm", "has a RDDMScheduler; supported are DDPMScheduler and DDIMScheduler\n"),
    ],
)
@pytest.mark.parametrize("ddim", [[], ["--ddim"]])
def test_the_command_says_why_a_folder_is_no_pipeline_for_it(saved, tmp_path, name, message, ddim):
    refused = cli("convert", "diffusers", saved / name, "--out", tmp_path / "run", *ddim)
    assert refused.exit_code == 2
    assert message in refused.output
    assert not (tmp_path / "run").exists()


def test_the_snippets_of_the_documentation_run(tmp_path, monkeypatch):
    page = Path(__file__).parents[1] / "docs" / "interop.md"
    monkeypatch.chdir(tmp_path)
    quiet(DDIMPipeline(unet_of(), DDIMScheduler())).save_pretrained("models/ddim")
    names: dict[str, object] = {}
    snippets = re.findall(r"```python\n(.*?)```", page.read_text(), re.S)
    assert len(snippets) == 2
    for snippet in snippets:
        exec(snippet, names)
    assert len(names["drawn"]) == 2
