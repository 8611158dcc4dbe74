"""Beats, noisy, filtered, denoised and clean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from rddm import OutputError
from rddm_ecg.compare import Window


def draw(windows: Sequence[Window], rate: float, file: Path, *, methods: Sequence[str], seconds: float = 4) -> None:
    """Write a figure with a row for each window, its middle so many seconds, first lead: the noisy signal, and methods.

    Grey is the clean signal. Above are the SNR and RMSE of each.

    Raises:
        OutputError: the file cannot be written, or has an ending that matplotlib does not know.
    """
    columns = ("input", *methods)
    figure = Figure(figsize=(4.2 * len(columns), 2.2 * len(windows)), layout="constrained")
    axes = figure.subplots(len(windows), len(columns), sharey="row", sharex=True, squeeze=False)
    for row, window in zip(axes, windows, strict=True):
        length = min(window.clean.shape[-1], round(seconds * rate))
        first = (window.clean.shape[-1] - length) // 2
        middle, time = slice(first, first + length), np.arange(length) / rate
        for axis, method in zip(row, columns, strict=True):
            axis.plot(time, window.clean[0, middle], color="0.6", linewidth=2, label="clean")
            colour = "tab:red" if method == "input" else "tab:blue"
            axis.plot(time, window.made[method][0, middle], color=colour, linewidth=0.8)
            known = window.figures[method]
            told = [f"{label} {known[key]:{form}}" for key, label, form in SHOWN if key in known]
            axis.set_title(f"{'noisy' if method == 'input' else method}   {', '.join(told)}", fontsize=9)
        row[0].set_ylabel(f"{window.name}\nmV", fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("s", fontsize=8)
    try:
        figure.savefig(file, dpi=90)
    except (OSError, ValueError) as cause:
        raise OutputError(f"{file} cannot be written: {cause}") from cause


SHOWN = (("snr", "SNR dB", ".1f"), ("rmse", "RMSE mV", ".3f"))
