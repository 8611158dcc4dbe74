"""The machine-readable log of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rddm.core.errors import OutputError, RddmError
from rddm.core.files import fresh_file, to_json


class Log:
    """`<name>.jsonl`, one JSON object a line, `{"step": 50, "loss": ...}`; and TensorBoard events by choice.

    Opened again at a step, it forgets what was logged after that step, so that a resumed run logs nothing twice.

    Raises:
        OutputError: the file cannot be written.
        RddmError: TensorBoard is asked for and not installed.
    """

    def __init__(self, run: Path, step: int, tensorboard: bool, name: str = "metrics") -> None:
        self.file = run / f"{name}.jsonl"
        lines = self.file.read_text(encoding="utf-8").splitlines() if self.file.exists() else []
        with fresh_file(self.file) as file:
            file.write_text("".join(f"{line}\n" for line in lines if _step(line) <= step), encoding="utf-8")
        self.board = _board(run, step) if tensorboard else None

    def write(self, step: int, scores: Mapping[str, float], prefix: str = "") -> None:
        """Add one line, and the same scalars to TensorBoard."""
        line = to_json({"step": step, **{prefix + key: value for key, value in scores.items()}})
        try:
            with self.file.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        except OSError as cause:
            raise OutputError(f"{self.file} cannot be written: {cause.strerror or cause}") from cause
        if self.board is not None:
            for key, value in scores.items():
                self.board.add_scalar(prefix + key, value, step)

    def close(self) -> None:
        """Flush and close TensorBoard's file."""
        if self.board is not None:
            self.board.close()


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):  # a line cut off by a killed process
        return float("inf")


def _board(run: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as cause:
        raise RddmError(
            "training.tensorboard needs TensorBoard; pip install 'residual-diffusion[tensorboard]'"
        ) from cause
    return SummaryWriter(str(run / "tensorboard"), purge_step=step)
