"""The command that measures runs, and results of any program."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from rddm.cli._app import Assignments, Device, Eta, Overwrite, SamplerName, Steps, app
from rddm.cli._output import Csv, Json, Markdown, new_file, print_scores, write_scores
from rddm.core.errors import SpecError


@app.command("eval")
def evaluate(
    place: Annotated[
        Path,
        typer.Argument(metavar="RUN|DIR", help="a run; or, with --targets, a folder of results", show_default=False),
    ],
    assignments: Assignments = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="of a run: the folder to evaluate on, in place of task.eval's")
    ] = None,
    targets: Annotated[
        Path | None, typer.Option(metavar="DIR", help="of results: what they should be, files of the same names")
    ] = None,
    inputs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="of results: the degraded images, measured beside")
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(metavar="DIR", help="of results: masks, white where the shadow is")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|TABLE",
            help="a metric, as ssim or '{name: lpips, net: vgg}', in place of the usual ones; more than one for more",
        ),
    ] = None,
    ndim: Annotated[
        int | None,
        typer.Option(min=1, max=3, show_default=False, help="of results: 1 for signals, 3 for volumes, in .npy files"),
    ] = None,
    steps: Steps = None,
    eta: Eta = None,
    sampler: SamplerName = None,
    limit: Annotated[int | None, typer.Option(min=1, help="the first so many images only")] = None,
    json: Json = None,
    csv: Csv = None,
    markdown: Markdown = None,
    paths: Annotated[
        bool, typer.Option("--paths", help="how far predictions depend on the way through the (abar, bbar) plane, too")
    ] = False,
    device: Device = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure a run on its evaluation images, or a folder of results, of any program, beside its targets.

    A run restores its evaluation images, or those of --data, and is measured next to the untouched input. Results are
    matched with --targets by relative path without suffix; what lacks a partner is named, and an image that cannot be
    measured makes the exit code 1. Means come with their 95 % confidence interval.
    """
    for file, suffix in ((json, ".json"), (csv, ".csv"), (markdown, ".md")):
        new_file(file, suffix, overwrite)
    is_run = (place / "spec.yaml").is_file()
    of_results = {"--targets": targets, "--inputs": inputs, "--masks": masks, "--ndim": ndim}
    of_runs = {"KEY=VALUE": assignments, "--data": data, "--steps": steps, "--eta": eta, "--sampler": sampler}
    of_runs |= {"--paths": paths or None, "--device": device}
    folder = place.is_dir() and not is_run
    wrong = [option for option, value in (of_runs if folder else of_results).items() if value is not None]
    if wrong:
        what = (
            f"{place} holds results, no run" if folder else f"{place} is a run" if is_run else f"{place} is no folder"
        )
        raise SpecError("command", [((wrong[0],), f"is of {'runs' if folder else 'folders of results'}, and {what}")])
    if folder and targets is None and metric is None:
        problem = f"{place} is no run; give the folder of what its images should be"
        raise SpecError("command", [(("--targets",), problem)])
    chosen = _metrics(metric)
    bar = sys.stderr.isatty()
    if folder:
        from rddm.core.systems.evaluate_files import evaluate

        sides = {"inputs": inputs, "masks": masks}
        scores = evaluate(place, targets, **sides, metrics=chosen, ndim=ndim or 2, limit=limit, progress=bar)
    else:
        from rddm.core.trainer import load

        trainer = load(place, device, overrides=[*(_data(place, data) if data else []), *(assignments or [])])
        options: dict[str, Any] = {"steps": steps, "eta": eta, "sampler": sampler}
        scores = trainer.evaluate(limit=limit, metrics=chosen, progress=bar, **options)
    print_scores(scores)
    if paths:
        scores["path_dependence"] = found = trainer.path_dependence()
        print("path dependence: " + ", ".join(f"{key} {value:.4f}" for key, value in found.items()))
    write_scores(scores, json, csv, markdown)
    if "errors" in scores:
        raise typer.Exit(1)


def _metrics(texts: list[str] | None) -> list[Any] | None:
    from rddm.core.spec import override

    return None if texts is None else [override({}, [f"metric={text}"])["metric"] for text in texts]


def _data(run: Path, folder: Path) -> list[str]:
    # assignments that make a folder the one to evaluate on
    from json import dumps

    from rddm.core.checkpoint import read_spec
    from rddm.core.kinds import Source

    task = read_spec(run).task
    own = getattr(task, "eval", None)
    if isinstance(own, Source):
        pairs = all((folder / role).is_dir() for role in ("input", "target"))
        spoilt = pairs and getattr(task, "degradation", None) is not None
        key = "task.eval.path" if own.name == "folder" else "task.eval"  # a folder's other parameters stay
        return [f"{key}={dumps(str(folder))}", *(["task.degradation=null"] if spoilt else [])]
    if all(hasattr(own, side) and (folder / side).is_dir() for side in ("source", "target")):
        return [f"task.eval.{side}={dumps(str(folder / side))}" for side in ("source", "target")]
    ways = (
        "say its parts, as task.eval.source=DIR task.eval.target=DIR, or give a folder with source/ and target/ in it"
    )
    raise SpecError("command", [(("--data",), f"task {task.name!r} evaluates on more than one folder; {ways}")])
