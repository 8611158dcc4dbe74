"""The command line. Heavy modules are imported by the command that needs them, so that help is instant."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from rddm import __version__
from rddm.core import registry
from rddm.core.errors import DataError, RddmError, RegistryError

if TYPE_CHECKING:
    from rddm.core.trainer import Trainer


ROWS = 40  # images in a printed table


class _Group(TyperGroup):
    """Commands whose user errors are one line and exit code 2, and whose stopping is exit code 130."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except RddmError as error:
            if os.environ.get("RDDM_TRACEBACK"):
                raise
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(2) from None
        except KeyboardInterrupt as stop:
            print(f"\n{stop}" if str(stop) else "\nstopped", file=sys.stderr)
            raise typer.Exit(130) from None


app = typer.Typer(
    name="rddm",
    cls=_Group,
    help="Residual denoising diffusion: train restorers on your own images, and restore with them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Run = Annotated[Path, typer.Argument(metavar="RUN", help="a folder that `rddm fit` wrote", show_default=False)]
SpecFile = Annotated[Path, typer.Argument(metavar="SPEC", help="a .yaml, .toml or .json file", show_default=False)]
Assignments = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="keys of the spec to change, such as sampler.steps=10"),
]
Steps = Annotated[int | None, typer.Option(help="sampling steps, in place of the spec's")]
Eta = Annotated[float | None, typer.Option(help="0 deterministic .. 1 ancestral, in place of the spec's")]
SamplerName = Annotated[str | None, typer.Option("--sampler", help="another sampling method that the network allows")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; the machine's accelerator by default")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace what is there")]


@app.command()
def fit(
    spec: SpecFile,
    assignments: Assignments = None,
    out: Annotated[Path | None, typer.Option(help="run folder; by default runs/<spec's name>")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the newest checkpoint in --out")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Train a model from a spec, tell how good it is, and leave a run folder."""
    from rddm.core.spec import override, read_table
    from rddm.core.trainer import build

    folder = out or Path("runs") / spec.stem
    trainer = build(override(read_table(spec), assignments or []))
    scores = trainer.fit(folder, resume=resume, overwrite=overwrite)
    if int(os.environ.get("RANK", "0")) == 0:
        print_scores(scores)
        picture = max((folder / "samples").glob("*.png"))
        print(f"run      {folder}\npicture  {picture}  (degraded | restored | target)")
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@app.command()
def restore(
    run: Run,
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="image files or folders of them")],
    out: Annotated[Path, typer.Option(help="folder for the results; names are kept, folders mirrored")],
    steps: Steps = None,
    eta: Eta = None,
    sampler: SamplerName = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="of the start noise, the same for every image")] = 0,
    device: Device = None,
    overwrite: Overwrite = False,
) -> None:
    """Restore image files of any size. Grey, alpha and 16 bits are kept; nothing is resized.

    An image that fails is named, the others are restored all the same, and the exit code is 1.
    """
    for given in inputs:  # before anything heavy is imported
        if not given.exists():
            raise DataError(f"{given} is neither a file nor a folder (working directory: {Path.cwd()})")
    from rddm.core.systems.restore_files import plan, restore_files
    from rddm.core.trainer import load

    jobs = plan(inputs, out, overwrite=overwrite)
    options: dict[str, Any] = {"steps": steps, "eta": eta, "sampler": sampler}
    failures = restore_files(load(run, device), jobs, seed=seed, **options)
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    print(f"{len(jobs) - len(failures)} of {len(jobs)} images restored to {out}")
    if failures:
        raise typer.Exit(1)


@app.command("eval")
def evaluate(
    run: Run,
    assignments: Assignments = None,
    steps: Steps = None,
    eta: Eta = None,
    sampler: SamplerName = None,
    limit: Annotated[int | None, typer.Option(min=1, help="the first so many images only")] = None,
    json: Annotated[Path | None, typer.Option(help="write all scores to this file, too")] = None,
    device: Device = None,
) -> None:
    """Measure a run on its evaluation images (or others: task.eval=FOLDER), next to the untouched input."""
    from rddm.core.files import fresh_file, to_json

    trainer = _load(run, assignments, device)
    scores = trainer.evaluate(limit=limit, progress=sys.stderr.isatty(), steps=steps, eta=eta, sampler=sampler)
    print_scores(scores)
    if json is not None:
        with fresh_file(json) as file:
            file.write_text(to_json(scores, indent=1), encoding="utf-8")


@app.command("profile")
def profile_(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="a spec file or a run folder", show_default=False)],
    assignments: Assignments = None,
    size: Annotated[str, typer.Option(help="image size, HEIGHTxWIDTH or one side")] = "256",
    device: Device = None,
) -> None:
    """Print what a spec costs: parameters, MACs, time and memory for one image."""
    from rddm.core.errors import SpecError
    from rddm.core.spec import override, read_table
    from rddm.core.trainer import build

    sides = size.lower().split("x")
    if len(sides) > 2 or not all(side.isdigit() and int(side) > 0 for side in sides):
        raise SpecError("profile", [(("--size",), f"must be such as 256 or 480x720; given {size!r}")])
    trainer = build(override(read_table(spec), assignments or [])).to(device or "cpu")
    cost = trainer.profile((int(sides[0]), int(sides[-1])))
    print(f"image            {cost.size[0]}x{cost.size[1]} on {cost.device}")
    print(f"parameters       {cost.parameters / 1e6:.2f} M")
    print(f"MACs per step    {cost.macs / 1e9:.3f} G")
    print(f"MACs per image   {cost.total_macs / 1e9:.3f} G  ({cost.steps} steps)")
    print(f"time per image   {cost.seconds:.3f} s")
    print(f"peak memory      {cost.peak_memory / 2**20:.0f} MiB")


@app.command("list")
def list_(
    kind: Annotated[str | None, typer.Argument(help=f"one of: {', '.join(registry.KINDS)}")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="load every component, and exit with 1 if one is broken")
    ] = False,
) -> None:
    """List the installed components, with the package each comes from."""
    found = [entry for one in ([_singular(kind)] if kind else registry.KINDS) for entry in registry.entries(one)]
    broken = 0
    for entry in found:
        state = ""
        if check:
            state = _state(entry)
            broken += state != "ok"
        print(f"{entry.kind:<12} {entry.name:<16} {entry.distribution} {entry.version}  {state}".rstrip())
    if broken:
        raise typer.Exit(1)


@app.command()
def show(
    kind: Annotated[str, typer.Argument(help=f"one of: {', '.join(registry.KINDS)}")],
    name: Annotated[str, typer.Argument(help="a name that `rddm list` shows")],
) -> None:
    """Explain one component: what it is, and every parameter with its default."""
    import inspect

    component = registry.load(_base(_singular(kind)), name)
    print(f"{component.__name__} ({component.__module__})\n\n{inspect.getdoc(component)}\n\nParameters")
    for key, field in component.model_fields.items():
        default = "required" if field.is_required() else repr(field.get_default(call_default_factory=True))
        print(f"  {key} = {default}" + (f"    {field.description}" if field.description else ""))


@app.command()
def schema() -> None:
    """Print the JSON Schema of a spec with every installed component, for editors."""
    from rddm.core.files import to_json
    from rddm.core.schema import spec_schema

    print(to_json(spec_schema(), indent=1))


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="print the version and stop")] = False,
) -> None:
    if version:
        print(f"rddm {__version__}")
        raise typer.Exit


def print_scores(scores: dict[str, Any]) -> None:
    """A table: a row for each of the first images and one for the mean, each metric of the input and of the output."""
    from rich.console import Console
    from rich.table import Table

    names = [key.removeprefix("input_") for key in scores if key.startswith("input_")]
    table = Table("image", *[f"{name} {end}" for name in names for end in ("in", "out")])
    images = list(scores["per_image"].items())
    rows = [*images[:ROWS], (f"mean of {scores['images']}", scores)]
    for image, values in rows:
        cells = [f"{values[key]:.{2 if 'psnr' in key else 4}f}" for name in names for key in (f"input_{name}", name)]
        table.add_row(image, *cells, style="bold" if values is scores else None)
    if len(images) > ROWS:
        table.caption = f"the first {ROWS} of {len(images)} images; --json FILE and evaluation.json have all"
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _load(run: Path, assignments: list[str] | None, device: str | None) -> Trainer:
    from rddm.core.trainer import load

    return load(run, device, overrides=assignments or [])


def _singular(kind: str) -> str:
    return kind[:-1] if kind.endswith("s") and kind[:-1] in registry.KINDS else kind


def _base(kind: str) -> Any:
    from rddm.core import kinds

    registry.entries(kind)  # an unknown kind is an error that lists the known ones
    return getattr(kinds, kind.capitalize())


def _state(entry: registry.Entry) -> str:
    try:
        registry.load(_base(entry.kind), entry.name)
    except RegistryError as error:
        return f"BROKEN: {error}"
    return "ok"


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    from tqdm import tqdm

    tqdm.write(f"warning: {message}", file=sys.stderr)  # above a progress bar, without file and source line


def main() -> None:
    """Run the command line."""
    # OpenMP threads that wait by spinning stall each other on a shared CPU: beside one busy process on two cores,
    # training is about twice as fast with shorter spins, and as fast as before when alone. Read when torch is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    warnings.showwarning = _warn
    warnings.filterwarnings("ignore", message=".*torch.jit.script. is deprecated")  # raised inside fvcore and timm
    app()
