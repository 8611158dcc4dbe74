"""Models of Hugging Face's diffusers, made into trainers and runs."""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rddm.convert.report import Report
from rddm.core.errors import CheckpointError, SpecError
from rddm.core.network import Network
from rddm.core.spec import Spec
from rddm.core.trainer import Trainer

if TYPE_CHECKING:
    from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel

SAMPLERS = {"epsilon": "sm-n", "v_prediction": "v", "sample": "sm-x0"}
BETAS = {"linear": "linear", "scaled_linear": "scaled-linear", "squaredcos_cap_v2": "squared-cosine"}
INSTALL = "diffusers is not installed: pip install 'residual-diffusion[diffusers]'"


def from_diffusers(unet: UNet2DModel, scheduler: DDPMScheduler | DDIMScheduler) -> Trainer:
    """A trainer of the task `generation` with the weights of a model of diffusers, copied, that draws the same images.

    Its `sample(noise=x_T, steps=S, eta=e**2)` is what the pipeline of the scheduler makes of x_T in S steps, with
    DDIM's eta e; with eta above 0 the noise of the steps is drawn in another order. A DDPM scheduler becomes eta = 1
    and the solver `posterior`. The sources of the task, data/train and data/eval, are opened when they are used.

    Warns where diffusers' DDIM steps to other times than the ones it visits.

    Raises:
        SpecError: the model is no UNet2DModel, or sees classes; the scheduler is another, or has a learned or a large
            variance, thresholding, a range of clipping other than 1, or a last step that goes nowhere.
    """
    table, notes = _table(unet, scheduler)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return _assembled(Spec(**table), unet)[0]


def convert(folder: Path, out: Path, *, ddim: bool = False, overwrite: bool = False) -> Report:
    """Write the run folder of a saved DDPMPipeline or DDIMPipeline, which `rddm.load` reads. Nothing is downloaded.

    Args:
        ddim: take the scheduler for a DDIMScheduler, as `DDIMScheduler.from_config` does.

    Raises:
        CheckpointError: the folder is no such pipeline, or cannot be read.
        SpecError: as for `from_diffusers`.
        OutputError: `out` is there and `overwrite` is not set, or cannot be written.
    """
    unet, scheduler = _read(folder, ddim)
    table, notes = _table(unet, scheduler)
    trainer, mapped = _assembled(Spec(**table), unet)
    trainer.save(out, overwrite=overwrite)
    task = trainer[Spec].task.model_dump(mode="json")
    folders = [
        f"the folder {task[key]['path']} for task.{key}, opened when it is used; say task.{key}=FOLDER then"
        for key in ("train", "eval")
    ]
    return Report(folder, out, trainer[Spec], mapped, (), (*folders, *notes))


def _read(folder: Path, ddim: bool) -> tuple[UNet2DModel, DDPMScheduler | DDIMScheduler]:
    try:
        import diffusers
    except ImportError as cause:
        raise CheckpointError(INSTALL) from cause
    index = folder / "model_index.json"
    if not index.is_file():
        raise CheckpointError(
            f"{folder} is no saved pipeline: it has no {index.name}; give the folder that save_pretrained wrote"
        )
    try:
        parts = json.loads(index.read_text(encoding="utf-8"))
        pipeline, model, kind = parts["_class_name"], parts["unet"][1], parts["scheduler"][1]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as cause:
        raise CheckpointError(f"{index} names no pipeline with a unet and a scheduler") from cause
    if pipeline not in ("DDPMPipeline", "DDIMPipeline") or model != "UNet2DModel":
        raise CheckpointError(
            f"{folder} holds a {pipeline} with a {model}; supported are DDPMPipeline and DDIMPipeline with a"
            " UNet2DModel, which draw pixels from noise alone (no latents, text or classes)"
        )
    related = {scheduler.__name__ for scheduler in diffusers.DDIMScheduler().compatibles}
    if kind not in (related if ddim else ("DDPMScheduler", "DDIMScheduler")):
        hint = "; --ddim takes it for a DDIMScheduler" if kind in related else ""
        raise CheckpointError(f"{folder} has a {kind}; supported are DDPMScheduler and DDIMScheduler{hint}")
    reader = getattr(diffusers, "DDIMScheduler" if ddim else kind)
    try:
        unet = diffusers.UNet2DModel.from_pretrained(folder / "unet", local_files_only=True)
        return unet, reader.from_config(reader.load_config(folder / "scheduler", local_files_only=True))
    except (OSError, ValueError, RuntimeError) as cause:
        raise CheckpointError(f"{folder} cannot be read: {cause}") from cause


def _table(unet: UNet2DModel, scheduler: DDPMScheduler | DDIMScheduler) -> tuple[dict[str, Any], list[str]]:
    """The spec, and how its images differ from those of diffusers, if they do."""
    try:
        from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
    except ImportError as cause:
        raise SpecError("diffusers", [((), INSTALL)]) from cause
    if not isinstance(unet, UNet2DModel):
        raise _refused("unet", f"must be a UNet2DModel, which sees images alone; given {type(unet).__name__}")
    if not isinstance(scheduler, DDPMScheduler | DDIMScheduler):
        raise _refused("scheduler", f"must be a DDPMScheduler or DDIMScheduler; given {type(scheduler).__name__}")
    known = inspect.signature(UNet2DModel.__init__).parameters
    config = {key: value for key, value in json.loads(unet.to_json_string()).items() if key in known}
    channels, size = config["in_channels"], config["sample_size"]
    if config["out_channels"] != channels:
        problem = f"must be {channels}, as in_channels, for a learned variance is not supported"
        raise _refused("unet", f"out_channels {problem}; given {config['out_channels']}")
    sampler, notes = _sampler(scheduler.config, ddim=isinstance(scheduler, DDIMScheduler))
    table = {
        "task": {"name": "generation", "channels": channels, "train": "data/train", "eval": "data/eval"},
        "schedule": _schedule(scheduler),
        "sampler": sampler,
        "backbone": {"name": "diffusers", "config": config},
        "training": {"loss": "l2"} | ({} if size is None else {"crop": size}),
    }
    return table, notes


def _sampler(config: Mapping[str, Any], ddim: bool) -> tuple[dict[str, Any], list[str]]:
    refusals = [
        ("thresholding", config["thresholding"], "is not supported; set it to False"),
        (
            "clip_sample_range",
            config["clip_sample"] and config["clip_sample_range"] != 1,
            f"must be 1, the range of images; given {config['clip_sample_range']}",
        ),
        (
            "variance_type",
            not ddim and config["variance_type"] not in ("fixed_small", "fixed_small_log"),
            f"must be 'fixed_small', that of the posterior; given {config.get('variance_type')!r}, which leaves the"
            " process's marginals. DDIMScheduler.from_config(scheduler.config), or --ddim on the command line, samples"
            " without it",
        ),
    ]
    spacing, offset = config["timestep_spacing"], config["steps_offset"]
    offset = offset if spacing == "leading" else 0
    end = 1 if ddim and not config["set_alpha_to_one"] else 0
    nowhere = end == 1 and offset == 0 and spacing != "trailing"
    problem = f"makes the last step one from t = 0 to t = 0 with {spacing} spacing and no steps_offset; set it to True"
    for key, wrong, text in (*refusals, ("set_alpha_to_one", nowhere, problem)):
        if wrong:
            raise _refused("scheduler", f"{key} {text}")
    notes = []
    if ddim and spacing != "leading":
        where = "with any other number of steps than T" if spacing == "linspace" else "where S does not divide T"
        notes.append(
            f"with timestep_spacing={spacing!r} DDIMScheduler steps from t to t - floor(T / S), and then takes the"
            f" state for one at the next of its timesteps, which is another {where}; rddm steps to the next timestep"
            " itself, so images differ there"
        )
    elif ddim and offset and end == 0:
        notes.append(
            f"with steps_offset={offset} and floor(T / S) <= {offset} DDIMScheduler stops before the clean image;"
            " rddm does not, so images differ for so many steps"
        )
    T = config["num_train_timesteps"]
    table = {
        "name": SAMPLERS[config["prediction_type"]],
        "steps": min(50 if ddim else 1000, T // 2 if end else T - offset),  # the pipelines' own, where they fit
        "eta": 0.0 if ddim else 1.0,
        "clip": "x0" if config["clip_sample"] else "none",
        "solver": "first-order" if ddim else "posterior",
        "grid": {"name": "spaced", "spacing": spacing, "offset": offset, "end": end},
    }
    return table, notes


def _schedule(scheduler: DDPMScheduler | DDIMScheduler) -> dict[str, Any]:
    config, T = scheduler.config, len(scheduler.betas)
    if config["num_train_timesteps"] != T:
        problem = f"must be the number of trained_betas, {T}; given {config['num_train_timesteps']}"
        raise _refused("scheduler", f"num_train_timesteps {problem}")
    named = BETAS.get(config["beta_schedule"])
    if named is not None and config["trained_betas"] is None and not config["rescale_betas_zero_snr"]:
        ends = {} if named == "squared-cosine" else {key: config[key] for key in ("beta_start", "beta_end")}
        return {"name": "ddim", "T": T, "betas": named, **ends}
    betas = scheduler.betas.double()
    if betas[-1] < 1:
        return {"name": "ddim", "T": T, "betas": betas.tolist()}
    if config["prediction_type"] == "epsilon":
        problem = "no trace of the image at T, where a network that predicts the noise says nothing of it either"
        raise _refused("scheduler", f"rescale_betas_zero_snr leaves {problem}; prediction_type must be v_prediction")
    ac = torch.cat([betas.new_ones(1), (1 - betas).cumprod(0)])
    tables = {"abar": 1 - ac.sqrt(), "bbar": (1 - ac).sqrt(), "F": ac.sqrt()}
    return {"name": "table", "prior": (1.0, 1.0), **{key: column.tolist() for key, column in tables.items()}}


def _assembled(spec: Spec, unet: UNet2DModel) -> tuple[Trainer, tuple[tuple[str, str], ...]]:
    """A trainer with the weights, and the names there and here of each."""
    trainer = Trainer.assemble(spec)
    network = trainer[Network]
    (head,) = network.groups
    prefix, weights = f"nets.{head}.unet.", unet.state_dict()
    network.load_state_dict({prefix + key: value for key, value in weights.items()})
    return trainer.to(unet.device), tuple((key, prefix + key) for key in weights)


def _refused(part: str, message: str) -> SpecError:
    return SpecError("diffusers", [((part,), message)])
