"""The command line. Heavy modules are imported by the command that needs them, so that help is instant."""

from __future__ import annotations

import os
import sys
import warnings

from rddm.cli import bench, convert, demo, eval, models, new_plugin, parts, plot, report
from rddm.cli._app import app

__all__ = ["app", "bench", "convert", "demo", "eval", "main", "models", "new_plugin", "parts", "plot", "report"]


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
