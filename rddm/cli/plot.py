"""The commands that draw schedules, routes and trajectories."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from rddm.cli._app import Changes, Device, Eta, Run, SamplerName, Steps, app, size_of
from rddm.core.errors import DataError, SpecError

if TYPE_CHECKING:
    from rddm.core.component import Component
    from rddm.core.kinds import Schedule

    C = TypeVar("C", bound=Component)

plot = typer.Typer(
    help="Draw schedules, routes and sampling trajectories.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(plot, name="plot")

PARAMETERS = "parameters after a colon, as power:alpha=increasing,beta_T2=0.01"
Out = Annotated[Path, typer.Option(help="the figure, a .png, .svg or .pdf file; replaced if it is there")]


@plot.command()
def schedule(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            help=f"a schedule; {PARAMETERS}; or the schedule of a spec file or a run folder",
            show_default=False,
        ),
    ],
    out: Out,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="KEY=VALUE", help="a parameter of all of them, such as beta_T2=0.01"),
    ] = None,
) -> None:
    """Draw schedules over each other: speeds, weights, posterior variance, the path and its signal to noise."""
    from rddm.plots.figure import check

    check(out)
    from rddm.plots.schedule import draw

    draw({name: _schedule(name, changes).path() for name in names}, out)
    print(f"picture  {out}")


@plot.command()
def route(
    out: Out,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help=f"a route; {PARAMETERS}; residual-first and noise-first by default",
            show_default=False,
        ),
    ] = None,
    schedule: Annotated[
        str, typer.Option(metavar="NAME", help="what was trained: a schedule, a spec file or a run folder")
    ] = "power",
    grids: Annotated[
        list[str] | None,
        typer.Option("--grid", metavar="NAME", help=f"which times are visited; {PARAMETERS}; more than one for more"),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="sampling steps")] = 10,
) -> None:
    """Draw the training path and other ways through the plane of residual and noise, with the states visited."""
    from rddm.plots.figure import check

    check(out)
    from rddm.core.entity import Entity
    from rddm.core.kinds import Grid, Route, Sampler
    from rddm.core.named import resolve
    from rddm.core.systems.trajectory import itinerary
    from rddm.plots.route import draw

    own = _schedule(schedule)
    panels: dict[str, Any] = {}
    ways: dict[str, Route | None] = {f"as trained ({schedule})": None}
    ways |= {name: _component(Route, name) for name in names or ("residual-first", "noise-first")}
    for grid in grids or ["uniform"]:
        panels[grid] = {}
        for name, way in ways.items():
            parts = {"name": "sm-res-n", "grid": _component(Grid, grid), "route": way, "steps": steps}
            panels[grid][name] = itinerary(Entity((own.path(), resolve(Sampler, parts))))
    draw(panels, out)
    print(f"picture  {out}")


@plot.command()
def trajectory(
    run: Run,
    out: Out,
    image: Annotated[
        Path | None,
        typer.Argument(
            metavar="[IMAGE]",
            help="what to restore; the first evaluation image by default. Runs that draw from noise take none",
            show_default=False,
        ),
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="HEIGHTxWIDTH or one side: the middle of the image; the size of a drawn one")
    ] = None,
    columns: Annotated[int, typer.Option(min=2, help="times shown, at most")] = 6,
    steps: Steps = None,
    eta: Eta = None,
    sampler: SamplerName = None,
    changes: Changes = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="of the noise, as for restore and sample")] = 0,
    device: Device = None,
) -> None:
    """Draw how sampling goes, from T to the clean image: state, residual, noise and clean image as predicted."""
    from rddm.plots.figure import check

    check(out)
    import torch

    from rddm.core.draws import seeded
    from rddm.core.kinds import Sampler, Task
    from rddm.core.network import Network
    from rddm.core.spec import Training
    from rddm.core.systems.sample import another_sampler
    from rddm.core.trainer import load
    from rddm.plots.trajectory import draw

    trainer = load(run, device, overrides=changes or [])
    if sampler is not None:
        trainer = trainer.replace(another_sampler(trainer[Sampler], sampler))
    task = trainer[Task]
    shape = None if size is None else size_of(size, task.ndim)
    if not task.from_noise:
        x_in, generator = _input(task, image, shape) * 2 - 1, torch.Generator().manual_seed(seed)
    elif image is not None:
        raise SpecError("command", [(("IMAGE",), f"task {task.name!r} draws images from noise; give none")])
    else:
        x_in, generator = (
            torch.zeros(1, task.channels, *(shape or trainer[Training].crop_size(task.ndim))),
            seeded(seed, 3, 0),
        )
    x_in = x_in.to(next(trainer[Network].parameters()).device)
    draw(trainer, x_in, out, generator=generator, columns=columns, steps=steps, eta=eta)
    print(f"picture  {out}")


def _schedule(text: str, changes: list[str] | None = None) -> Schedule:
    from rddm.core import registry
    from rddm.core.kinds import Schedule
    from rddm.core.named import resolve
    from rddm.core.spec import override, read_table

    name, parameters = _parts(text)
    if name in registry.names("schedule") or not Path(name).exists():
        return _component(Schedule, text, changes)
    table = read_table(Path(name)).get("schedule", "power")
    table = {"name": table} if isinstance(table, str) else table
    return resolve(Schedule, override(table, parameters + (changes or [])))


def _component(base: type[C], text: str, changes: list[str] | None = None) -> C:
    from rddm.core.named import resolve
    from rddm.core.spec import override

    name, parameters = _parts(text)
    return resolve(base, override({"name": name}, parameters + (changes or [])))


def _parts(text: str) -> tuple[str, list[str]]:
    name, colon, parameters = text.partition(":")
    return name, re.split(r",(?=\s*[A-Za-z_][\w.]*\s*=)", parameters) if colon else []


def _input(task: Any, file: Path | None, shape: tuple[int, ...] | None) -> Any:
    # (1, C, H, W) in [0, 1]
    from rddm.core import images

    if file is not None:
        image = task.prepare(images.for_model(images.read(file), task.channels)[0][None])[0]
    else:
        image = next((example["input"] for _, example in task.examples(task.eval_records())), None)
        if image is None:
            raise DataError("no evaluation image can be read; give an IMAGE")
    if shape is not None:
        if any(side < want for side, want in zip(image.shape[-2:], shape, strict=True)):
            whole, given = ("x".join(map(str, sides)) for sides in (image.shape[-2:], shape))
            raise SpecError("command", [(("--size",), f"must fit into the image, {whole}; given {given}")])
        top, left = ((side - want) // 2 for side, want in zip(image.shape[-2:], shape, strict=True))
        image = image[..., top : top + shape[0], left : left + shape[1]]
    return image[None]
