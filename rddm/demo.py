"""A page in the browser, served from this machine, on which a run restores photographs or draws images.

Source of the parts that the page is made of: https://www.gradio.app
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor

from rddm.core import images, registry
from rddm.core.entity import Entity
from rddm.core.errors import DataError, RddmError, SpecError
from rddm.core.extras import Given, accepted, applied, read
from rddm.core.kinds import Backbone, Sampler, Schedule, Task
from rddm.core.network import Network
from rddm.core.process import Path as Process
from rddm.core.systems.sample import another_sampler, restore, sample
from rddm.core.systems.trajectory import itinerary

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
try:
    import gradio as gr
except ModuleNotFoundError as cause:
    if cause.name != "gradio":
        raise
    message = "needs gradio, which is not installed: pip install 'residual-diffusion[demo]'"
    raise SpecError("demo", [((), message)]) from cause

SHOWN = 2048  # pixels of the longer side of pictures on the page; what is downloaded has all
CSS = ".drawn img {image-rendering: pixelated}"
BAR = gr.Progress(track_tqdm=True)  # by which gradio shows the bars of a function that has it as a default
FONTS = ["system-ui", "sans-serif"]  # nothing is fetched


def serve(
    entity: Entity, title: str, *, host: str = "127.0.0.1", port: int | None = None, share: bool = False
) -> tuple[gr.Blocks, str]:
    """The page, served from threads of this process until it is closed, and its address.

    Args:
        host: 127.0.0.1 for this machine alone, 0.0.0.0 for the whole network.
        port: by default the first free one from 7860 on.
        share: through a public address, too, by gradio's servers.

    Raises:
        SpecError: the port is taken; or as `page`.
    """
    blocks = page(entity, title)
    look = gr.themes.Default(font=FONTS, font_mono=["monospace"])
    try:
        _, local, public = blocks.launch(
            server_name=host,
            server_port=port,
            share=share,
            prevent_thread_lock=True,
            quiet=True,
            show_error=True,
            footer_links=[],
            ssr_mode=False,
            mcp_server=False,
            theme=look,
            css=CSS,
        )
    except OSError as cause:
        raise SpecError("command", [(("--port",), f"{cause}; give another")]) from cause
    return blocks, public or local


def page(entity: Entity, title: str) -> gr.Blocks:
    """The page for an entity that can restore or draw images.

    Raises:
        SpecError: what its task restores are no images.
    """
    task = entity[Task]
    if task.ndim != 2:
        raise SpecError(
            "demo", [(("task", "ndim"), f"the page shows images, of 2 dimensions; this run has {task.ndim}")]
        )
    names = " · ".join(entity[kind].name for kind in (Task, Schedule, Sampler, Backbone))
    blocks = gr.Blocks(title=f"rddm {title}", analytics_enabled=False, delete_cache=(600, 3600))
    with blocks:
        gr.Markdown(f"## {title}\n{names}")
        if task.from_noise:
            _drawing(entity)
        else:
            _restoring(entity)
    return blocks


def _restoring(entity: Entity) -> None:
    task = entity[Task]
    roles = accepted(task)

    def restored(
        photo: str | None,
        steps: float,
        eta: float,
        seed: float | None,
        sampler: str,
        _bar: gr.Progress = BAR,
        *beside: Any,
    ) -> Iterator[tuple[Any, str]]:
        with _told(), TemporaryDirectory() as scratch:
            if photo is None:
                raise DataError("Give a photograph first: drop one on the page.")
            image, rest = images.for_model(images.read(Path(photo)), task.channels)
            found = {}
            for (role, channels), pair in zip(roles.items(), zip(beside[::2], beside[1::2], strict=True), strict=True):
                if (extra := _extra(role, channels, pair, tuple(image.shape[1:]))) is not None:
                    found[role] = extra
                elif role in task.extras:
                    raise DataError(f"This model needs {role!r}, too: {_ASKED[channels == 1]}.")
            image, found = applied(task, image, found)
            generator = Generator().manual_seed(int(seed or 0))  # None from an emptied field
            output = restore(entity, image, extras=found, generator=generator, **_options(steps, eta, sampler))
            result = images.from_model(output, rest)
            file = Path(scratch, f"{Path(photo).stem}.png")
            images.write(file, result)
            yield (_shown(images.to_array(image)), _shown(result)), str(file)  # copied before the folder goes

    with gr.Row():
        with gr.Column(scale=1):
            photo = gr.File(label="Photograph", file_types=sorted(images.suffixes()), height=140)
            extras = [part for role, channels in roles.items() for part in _asked(photo, role, channels)]
            controls = _controls(entity)
            button = gr.Button("Restore", variant="primary")
        with gr.Column(scale=2):
            slider = gr.ImageSlider(label="before | after", format="png", interactive=False, max_height=720)
            file = gr.File(label="Result in full quality", interactive=False)
    events = [button.click] if extras else [photo.upload, button.click]
    gr.on(events, restored, [photo, *controls, *extras], [slider, file], api_name="restore")


def _drawing(entity: Entity) -> None:
    def drawn(
        count: float, steps: float, eta: float, seed: float | None, sampler: str, _bar: gr.Progress = BAR
    ) -> Iterator[list[str]]:
        with _told(), TemporaryDirectory() as scratch:
            first = int(seed or 0)
            found = sample(entity, int(count), seed=first, **_options(steps, eta, sampler))
            files = [Path(scratch, f"{first}-{number:06d}.png") for number in range(len(found))]
            for file, image in zip(files, found, strict=True):
                images.write(file, images.to_array(image))
            yield [str(file) for file in files]

    with gr.Row():
        with gr.Column(scale=1):
            count = gr.Slider(1, 64, 16, step=1, label="Images")
            controls = _controls(entity)
            button = gr.Button("Draw", variant="primary")
        with gr.Column(scale=2):
            gallery = gr.Gallery(
                label="Drawn",
                columns=6,
                format="png",
                buttons=["download", "download_all", "fullscreen"],
                elem_classes="drawn",
            )
    button.click(drawn, [count, *controls], gallery, api_name="draw")


def _controls(entity: Entity) -> list[Any]:
    sampler, heads = entity[Sampler], set(entity[Network].heads)
    names = [sampler.name]
    for name in registry.names("sampler"):
        try:
            other = another_sampler(sampler, name)
        except RddmError:  # a broken plugin, or one with parameters that have no default
            continue
        if name != sampler.name and other.choice is None and set(other.heads) <= heads:
            names.append(name)
    own = len(itinerary(entity)[1]) - 1
    return [
        gr.Slider(1, max(own, min(100, entity[Process].T)), own, step=1, label="Steps"),
        gr.Slider(0, 1, sampler.eta, label="Eta", info="0 deterministic, 1 ancestral"),
        gr.Number(0, precision=0, minimum=0, label="Seed", info="of the noise"),
        gr.Dropdown(names, value=sampler.name, label="Sampling method", visible=len(names) > 1),
    ]


_ASKED = ("upload an image, or give numbers", "paint it, or upload an image")


def _asked(photo: gr.File, role: str, channels: int) -> tuple[Any, Any]:
    # two ways to give an extra, of which the second, a file, is taken where both are used
    if channels == 1:
        brush = gr.Brush(colors=["#ffffff"], default_color="#ffffff", color_mode="fixed")
        first: Any = gr.ImageEditor(
            label=f"Paint: {role}", sources=(), transforms=(), brush=brush, layers=False, format="png"
        )
        photo.upload(_canvas, photo, first, api_visibility="private")
    else:
        first = gr.Textbox(label=f"{role}: {channels} numbers in [0, 1]", placeholder=", ".join(["0"] * channels))
    return first, gr.File(label=f"or an image: {role}", file_types=sorted(images.suffixes()), height=140)


def _canvas(photo: str) -> dict[str, Any]:
    with _told():
        background = np.asarray(_shown(images.read(Path(photo))))
    return {"background": background, "layers": [], "composite": None}


def _extra(role: str, channels: int, given: tuple[Any, str | None], size: tuple[int, ...]) -> Tensor | None:
    first, file = given
    if file is not None:
        return read(Path(file), role, channels, size)
    if isinstance(first, str) and first.strip():
        try:
            numbers: Given = tuple(float(number) for number in first.split(","))
        except ValueError:
            raise DataError(f"{role} must be numbers such as 0, 0.5, 1; given {first!r}") from None
        return read(numbers, role, channels, size)
    layers = first["layers"] if isinstance(first, Mapping) else []
    painted = [np.asarray(layer)[..., 3] > 0 for layer in layers]
    if not any(layer.any() for layer in painted):
        return None
    height, width = size
    mask = Image.fromarray(np.any(painted, axis=0)).resize((width, height), Image.Resampling.NEAREST)
    return torch.from_numpy(np.array(mask, np.float32))[None]


def _options(steps: float, eta: float, sampler: str) -> dict[str, Any]:
    return {"steps": int(steps), "eta": float(eta), "sampler": sampler, "progress": True}


def _shown(array: images.Array) -> Image.Image:
    channels = array.shape[2]
    colours = array if channels <= 4 else array[..., :3]
    picture = Image.fromarray(images.to_array(images.to_tensor(images.as_channels(colours, 3))))
    picture.thumbnail((SHOWN, SHOWN))
    return picture


@contextmanager
def _told() -> Iterator[None]:
    # problems as a message on the page
    try:
        yield
    except RddmError as error:
        raise gr.Error(str(error), duration=None, print_exception=False) from error
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise gr.Error(
            f"The image is too large for the memory: {error}", duration=None, print_exception=False
        ) from error
