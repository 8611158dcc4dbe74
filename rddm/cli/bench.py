"""The command that compares what methods achieve and what they cost."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rddm.cli._app import Changes, Device, Overwrite, app, size_of
from rddm.cli._output import Csv, Json, Markdown, new_file, print_table, write_csv, write_json, write_markdown
from rddm.core.errors import SpecError

if TYPE_CHECKING:
    from rddm.core.trainer import Trainer


@app.command("bench-methods")
def bench_methods(
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]RUN|SPEC...", help="a run, whose quality is measured, too; or a spec", show_default=False
        ),
    ],
    steps: Annotated[str | None, typer.Option(help="sampling steps, as 1,2,5,10; by default each one's own")] = None,
    size: Annotated[str, typer.Option(help="image size for the cost, HEIGHTxWIDTH or one side")] = "256",
    limit: Annotated[int | None, typer.Option(min=1, help="measure the first so many evaluation images only")] = None,
    changes: Changes = None,
    json: Json = None,
    csv: Csv = None,
    markdown: Markdown = None,
    device: Device = None,
    overwrite: Overwrite = False,
) -> None:
    """Compare methods by steps, quality, time, MACs and parameters: a row for each method and number of steps.

    Quality is what the task of a run is measured by, over its evaluation images. Specs are built and not trained, so
    that their quality is "-". Time is the median of three images, after one to warm up.
    """
    for file, suffix in ((json, ".json"), (csv, ".csv"), (markdown, ".md")):
        new_file(file, suffix, overwrite)
    counts = _counts(steps)
    size_of(size, 1 + size.lower().count("x"))  # refuse what is no size before anything takes long
    named = [_named(text) for text in places]
    if len({name for name, _ in named}) < len(named):
        raise SpecError("command", [((), "two methods have one name; give others, as NAME=RUN")])
    rows: list[dict[str, Any]] = []
    specs = []
    for name, place in named:
        trainer, trained = _model(place, changes or [], device)
        specs += [] if trained else [name]
        for count in counts:
            quality = _quality(trainer, count, limit) if trained else {}
            rows.append({"method": name, **_cost(trainer, count, size), "quality": quality})
    figures = list(dict.fromkeys(key for row in rows for key in row["quality"]))
    heads = ["method", "sampler", "nets", "backbone", "steps", *figures, "s / image", "GMACs / image", "M parameters"]
    texts = [
        [
            *(str(row[key]) for key in heads[:5]),
            *(f"{row['quality'][key]:.4g}" if key in row["quality"] else "-" for key in figures or ["quality"]),
            f"{row['seconds']:.3f}",
            f"{row['macs'] / 1e9:.3f}",
            f"{row['parameters'] / 1e6:.2f}",
        ]
        for row in rows
    ]
    heads[5:5] = [] if figures else ["quality"]
    sizes = dict.fromkeys("x".join(map(str, row["size"])) for row in rows)
    print_table(heads, texts)
    print(f"note     cost of one image of {' or '.join(sizes)} on {rows[0]['device']}")
    if specs:
        print(f"note     no quality of {', '.join(specs)}: fit them, and give the runs")
    write_json(json, {"methods": rows})
    costs = ["seconds", "macs", "parameters", "device"]
    lines = [
        [*(row[k] for k in heads[:5]), *map(row["quality"].get, figures), *(row[k] for k in costs)] for row in rows
    ]
    write_csv(csv, [*heads[:5], *figures, *costs], lines)
    write_markdown(markdown, (heads, texts))


def _counts(text: str | None) -> list[int | None]:
    if text is None:
        return [None]
    if not all(part.isdigit() and int(part) > 0 for part in text.split(",")):
        raise SpecError("command", [(("--steps",), f"must be such as 5 or 1,2,5,10; given {text!r}")])
    return [int(part) for part in text.split(",")]


def _named(text: str) -> tuple[str, Path]:
    name, equals, rest = text.partition("=")
    path = Path(text) if not equals or Path(text).exists() else Path(rest)
    return (name if path == Path(rest) and equals else path.resolve().stem), path


def _model(place: Path, changes: list[str], device: str | None) -> tuple[Trainer, bool]:
    import torch

    from rddm.core.spec import override, read_table
    from rddm.core.trainer import build, load

    if place.is_dir():
        return load(place, device, overrides=changes), True
    there = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return build(override(read_table(place), changes)).to(device or there or "cpu"), False


def _quality(trainer: Trainer, steps: int | None, limit: int | None) -> dict[str, float]:
    from rddm.core.metrics import INPUT, figures

    scores = trainer.evaluate(limit=limit, steps=steps, progress=sys.stderr.isatty())
    return {key: value for key, value in figures(scores).items() if not key.startswith(INPUT)}


def _cost(trainer: Trainer, steps: int | None, size: str) -> dict[str, Any]:
    from rddm.core.kinds import Backbone, Sampler, Task
    from rddm.core.systems.sample import another_sampler

    if steps is not None:
        trainer = trainer.replace(another_sampler(trainer[Sampler], {"steps": steps}))
    cost, sampler = trainer.profile(size_of(size, trainer[Task].ndim)), trainer[Sampler]
    return {
        "sampler": sampler.name,
        "nets": sampler.nets,
        "backbone": trainer[Backbone].name,
        "steps": sampler.steps,
        "seconds": cost.seconds,
        "macs": cost.total_macs,
        "parameters": cost.parameters,
        "device": cost.device,
        "size": cost.size,
    }
