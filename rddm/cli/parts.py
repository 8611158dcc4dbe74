"""The commands that tell what is installed, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rddm.cli._app import Assignments, Device, app, size_of
from rddm.core import registry
from rddm.core.errors import RegistryError


@app.command("profile")
def profile_(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="a spec file or a run folder", show_default=False)],
    assignments: Assignments = None,
    size: Annotated[str, typer.Option(help="image size, HEIGHTxWIDTH or one side")] = "256",
    device: Device = None,
) -> None:
    """Print what a spec costs: parameters, MACs, time and memory for one image."""
    from rddm.core.kinds import Task
    from rddm.core.spec import override, read_table
    from rddm.core.trainer import build

    size_of(size, 1 + size.lower().count("x"))  # no spec need be read to refuse what is no size
    trainer = build(override(read_table(spec), assignments or [])).to(device or "cpu")
    cost = trainer.profile(size_of(size, trainer[Task].ndim))
    print(f"image            {'x'.join(map(str, cost.size))} on {cost.device}")
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
        default = (
            "required" if field.is_required() else repr(field.get_default(call_default_factory=True, validated_data={}))
        )
        print(f"  {key} = {default}" + (f"    {field.description}" if field.description else ""))


@app.command()
def schema() -> None:
    """Print the JSON Schema of a spec with every installed component, for editors."""
    from rddm.core.files import to_json
    from rddm.core.schema import spec_schema

    print(to_json(spec_schema(), indent=1))


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
