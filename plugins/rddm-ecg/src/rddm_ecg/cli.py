"""The command `rddm-ecg`: the table of methods, the plot of beats, and records denoised."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from rddm import RddmError

app = typer.Typer(
    help="ECG denoising with a run that `rddm fit` wrote.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Run = Annotated[Path, typer.Argument(metavar="RUN", help="a folder that `rddm fit` wrote", show_default=False)]
Changes = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="keys of the spec to change, such as task.degradation.snr=[5,5]"),
]
Limit = Annotated[int | None, typer.Option(min=1, help="the first so many evaluation windows only")]
Steps = Annotated[int | None, typer.Option(help="sampling steps, in place of the spec's")]


@app.command()
def table(
    run: Run,
    changes: Changes = None,
    limit: Limit = None,
    steps: Steps = None,
    out: Annotated[Path | None, typer.Option("--json", help="a file for the numbers")] = None,
) -> None:
    """Compare the model with classical filters, tuned on training windows, on the evaluation windows."""
    from rich.console import Console
    from rich.table import Table

    import rddm
    from rddm_ecg.compare import compared, lead, means, tuned

    trainer = rddm.load(run, overrides=changes or [])
    filters = tuned(trainer)
    windows = list(compared(trainer, {name: apply for name, (apply, _) in filters.items()}, limit=limit, steps=steps))
    found = means(windows)
    keys = list(found["input"])
    heads = [key.replace("_", " ") for key in keys]
    shown = Table("method", *heads, title=f"mean over {len(windows)} windows", box=None, padding=(0, 2, 0, 0))
    for method, figures in found.items():
        shown.add_row(method, *(f"{figures[key]:.3f}" for key in keys))
    Console().print(shown)
    for name, (_, parameters) in filters.items():
        print(f"{name}: {', '.join(f'{key} {value}' for key, value in parameters.items())}")
    ahead, other = min((lead(windows, name), name) for name in filters)
    spread = "" if ahead.interval is None else f" (95 % from {ahead.interval[0]:+.2f} to {ahead.interval[1]:+.2f})"
    print(f"SNR of rddm over that of {other}: {ahead.mean:+.2f} dB{spread}, ahead in {ahead.windows} of {len(windows)}")
    if out is not None:
        parameters = {name: parameters for name, (_, parameters) in filters.items()}
        out.write_text(json.dumps({"windows": len(windows), "means": found, "parameters": parameters}, indent=1))


@app.command()
def plot(
    run: Run,
    out: Annotated[Path, typer.Option(help="the figure, a .png, .svg or .pdf file; replaced if it is there")],
    changes: Changes = None,
    count: Annotated[int, typer.Option(min=1, help="windows, evenly spread over the evaluation's")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="how much of each")] = 4,
    steps: Steps = None,
) -> None:
    """Draw noisy beats, and what the best classical filter and the model make of them, over the clean ones."""
    import rddm
    from rddm_ecg.compare import best, compared, scale, tuned
    from rddm_ecg.figure import draw

    trainer = rddm.load(run, overrides=changes or [])
    filters = {name: apply for name, (apply, _) in tuned(trainer).items()}
    windows = list(compared(trainer, filters, steps=steps))
    chosen = windows[:: max(1, len(windows) // count)][:count]
    draw(chosen, scale(trainer).rate, out, methods=[best(windows, list(filters)), "rddm"], seconds=seconds)
    print(f"picture  {out}")


@app.command()
def denoise(
    run: Run,
    records: Annotated[list[Path], typer.Argument(metavar="RECORD...", help="WFDB records, with or without .hea")],
    out: Annotated[Path, typer.Option(help="the folder to write to")],
    lead: Annotated[list[str] | None, typer.Option(help="a lead to denoise; all by default, others are copied")] = None,
    steps: Steps = None,
) -> None:
    """Denoise WFDB records of any sampling rate; rates, names, units and lengths stay."""
    import rddm
    from rddm_ecg.denoise import denoise as one

    trainer = rddm.load(run)
    for record in records:
        print(one(trainer, record, out, leads=tuple(lead or ()), steps=steps))


def main() -> None:
    """Run the command line; a user's error is one line and exit code 2."""
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    warnings.filterwarnings("ignore", message=".*torch.jit.script. is deprecated")  # raised inside timm
    try:
        app()
    except RddmError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
