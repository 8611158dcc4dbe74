"""The command `rddm-detect-aug`: detectors, the tables of both uses, and folders of drawn images."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rddm import RddmError

if TYPE_CHECKING:
    from rddm import Trainer

app = typer.Typer(
    help="Diffusion beside a detector: restoration before it, and images to train it with.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Recipe = Annotated[Path, typer.Argument(metavar="RECIPE", help="a spec (.yaml), or a run", show_default=False)]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="a folder that `rddm fit` wrote", show_default=False)]
Json = Annotated[Path | None, typer.Option("--json", help="a file for the numbers")]
Draws = Annotated[int, typer.Option(min=1, help="times that each test image is spoilt")]


@app.command("train-detector")
def train_detector(
    recipe: Recipe,
    out: Annotated[Path, typer.Option(help="the file to write, .npz; replaced if it is there")],
    spoilt: Annotated[int, typer.Option(min=0, help="spoil each image so many times; 0 for clean ones")] = 0,
    add: Annotated[list[Path] | None, typer.Option(help="a folder of `augment`; may be given again")] = None,
) -> None:
    """Train a detector on the training images of a labelled task, and tell how it does on the evaluation images."""
    import numpy as np

    from rddm.plugin import Task
    from rddm_detect_aug.auc import wins
    from rddm_detect_aug.augment import read
    from rddm_detect_aug.detector import trained
    from rddm_detect_aug.examples import examples, label_of, pictures_as

    trainer = _opened(recipe)
    task, label = trainer[Task], label_of(trainer)
    train, test = (examples(task, records, max(1, spoilt)) for records in (task.train_records(), task.eval_records()))
    seen = [*train.inputs.flatten(0, 1)] if spoilt else [*train.clean]
    positives = [*map(bool, train.positives)] * max(1, spoilt)
    for place, folder in enumerate(add or ()):
        pictures, labels = read(folder, task.channels)
        seen += [*pictures_as(task, pictures, f"added {place}", spoilt).inputs.flatten(0, 1)] if spoilt else pictures
        positives += [one == label for one in labels] * max(1, spoilt)
    detector = trained(seen, positives, label)
    detector.write(out)
    for name, images in (("clean", test.clean[None]), ("spoilt", test.inputs)):
        scores = np.stack([detector.scores(row) for row in images])
        accuracy, area = np.mean((scores > 0) == test.positives), wins(scores, test.positives).mean()
        print(f"{name} evaluation images: accuracy {accuracy:.3f}, ROC AUC {area:.4f}")
    print(f"detector of {label!r} from {len(seen)} images, {sum(positives)} of them positive: {out}")


@app.command()
def table(run: Run, draws: Draws = 5, out: Json = None) -> None:
    """Compare detection in clean, spoilt and restored evaluation images, and detectors trained on spoilt ones."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    import rddm
    from rddm_detect_aug.table import table as made

    rows, tuned = made(rddm.load(run), draws)
    shown = Table("method", "PSNR", "accuracy", escape("ROC AUC [95 % CI]"), escape("rddm better by [95 % CI]"))
    for row in rows:
        psnr = f"{row.psnr:.2f}" if row.psnr == row.psnr else ""
        auc, below = row.auc, row.below
        more = "" if below is None else f"{below.value:+.3f} [{below.low:+.3f}, {below.high:+.3f}]"
        area = f"{auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}]"
        shown.add_row(row.method, psnr, f"{row.accuracy:.3f}", escape(area), escape(more))
    Console(width=110).print(shown)
    print("tuned on training images: " + ", ".join(f"{name} {value:g}" for name, value in tuned.items()))
    if out is not None:
        out.write_text(json.dumps({"draws": draws, "rows": [asdict(row) for row in rows], "tuned": tuned}, indent=1))


@app.command()
def augment(
    run: Run,
    count: Annotated[int, typer.Option(min=1, help="how many images")],
    label: Annotated[str, typer.Option(help="what they are, for the table of labels")],
    out: Annotated[Path, typer.Option(help="a new folder")],
    seed: Annotated[int, typer.Option(min=0, help="image n is drawn from seed and n alone")] = 0,
    into: Annotated[Path | None, typer.Option(help="a folder of images to fill holes in, of inpainting")] = None,
) -> None:
    """Draw images with a model of generation or inpainting into a folder with labels.csv."""
    import rddm
    from rddm.plugin import Source, resolve
    from rddm_detect_aug.augment import drawn, write

    source = None if into is None else resolve(Source, str(into))
    number = write(drawn(rddm.load(run), count, seed=seed, into=source), out, label)
    print(f"{number} images and labels.csv: {out}")


@app.command()
def scarce(
    generation: Annotated[Path, typer.Argument(metavar="GENERATION", help="the recipe of the model that draws")],
    detection: Annotated[Path, typer.Argument(metavar="DETECTION", help="the recipe of a labelled task")],
    out: Annotated[Path, typer.Option(help="the folder of the models, which are trained once")],
    real: Annotated[list[int], typer.Option(min=1, help="number of real positives; may be given again")] = [5, 10, 20],  # noqa: B006
    seeds: Annotated[int, typer.Option(min=1, help="choices of real positives, each with a model of its own")] = 3,
    added: Annotated[int, typer.Option(min=1, help="positives that are added")] = 100,
    draws: Draws = 5,
    numbers: Json = None,
) -> None:
    """Tell what drawn positives add to few real ones; trains a model for each number and seed."""
    from rich.console import Console
    from rich.table import Table

    from rddm_detect_aug.scarce import outcomes

    found = []
    how = {"seeds": seeds, "added": added, "draws": draws}
    for one in outcomes(_opened(generation), _opened(detection), real, out=out, **how):
        print(f"{one.real} real, seed {one.seed}: " + ", ".join(f"{key} {v:.4f}" for key, v in one.areas.items()))
        found.append(one)
    shown = Table("real positives", *found[0].areas, title=f"ROC AUC, mean and standard deviation over {seeds} choices")
    for count in real:
        rows = [one.areas for one in found if one.real == count]
        shown.add_row(str(count), *(_spread([row[key] for row in rows]) for key in rows[0]))
    Console(width=110).print(shown)
    if numbers is not None:
        numbers.write_text(json.dumps({**how, "outcomes": [asdict(one) for one in found]}, indent=1))


def _opened(path: Path) -> Trainer:
    import rddm

    return rddm.load(path) if path.is_dir() else rddm.build(path)


def _spread(values: list[float]) -> str:
    from statistics import mean, pstdev

    return f"{mean(values):.4f} ± {pstdev(values):.4f}"


def main() -> None:
    """Run the command line; a user's error is one line and exit code 2."""
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    warnings.filterwarnings("ignore", message=".*torch.jit.script. is deprecated")  # raised inside timm
    try:
        app()
    except RddmError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
