"""Schedules as curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as FilePath

import torch

from rddm.core.process import Path
from rddm.plots.figure import average, coloured, figure, legend

PANELS = (
    (r"speed of the residual  $T\alpha_t = -T\,\Delta A_t$", r"$t/T$"),
    (r"speed of the noise variance  $T\beta_t^2 = T\,\Delta C_t^2$", r"$t/T$"),
    ("weights in the state", r"$t/T$"),
    (r"posterior variance  $T\sigma_t^2$  of the ancestral step", r"$t/T$"),
    (r"the path:  $C_t$ ($\bar\beta_t$)  over  $1 - A_t$ ($\bar\alpha_t$)", r"$1 - A_t$"),
    (r"signal to noise  $20\,\log_{10}(A_t/C_t)$ in dB", r"$t/T$"),
)


def draw(paths: Mapping[str, Path], file: FilePath) -> None:
    """Write one figure of several paths by name: speeds, weights, posterior variance, the curve, signal to noise.

    In RDDM's form the weights are abar_t (solid) and bbar_t (dashed), of which B and C are the general names; of other
    paths A_t is drawn, too (dotted). Times are t / T and speeds T times the differences, so that schedules of different
    T are comparable; the legend has the sums of the posterior variances. Where coefficients differ by pixel their mean
    is drawn, where they differ by frequency those of frequency 0.

    Raises:
        SpecError: there are more than seven.
        OutputError: the file is no .png, .svg or .pdf, or cannot be written.
        RddmError: matplotlib is not installed.
    """
    from matplotlib.lines import Line2D

    with figure(file, 12, 6.6) as drawn:
        axes = drawn.subplots(2, 3).flatten()
        for axis, (title, label) in zip(axes, PANELS, strict=True):
            axis.set_title(title)
            axis.set_xlabel(label)
        residual = True
        for name, path, ink in coloured(paths):
            look = {"color": ink}
            A, B, C = (average(table) for table in path.tables)
            t = torch.arange(path.T + 1, dtype=torch.float64) / path.T
            middle = (t[1:] + t[:-1]) / 2
            variance = average(path.posterior_variance)
            sums = rf"$\Sigma\sigma_t^2$ = {variance.sum():.3g}, $C_T^2$ = {C[-1] ** 2:.3g}"
            axes[0].plot(middle, -path.T * A.diff(), label=f"{name}   ({sums})", **look)
            axes[1].plot(middle, path.T * (C**2).diff(), **look)
            axes[2].plot(t, B, "-", **look)
            axes[2].plot(t, C, "--", **look)
            if ((A + B - 1).abs() > 1e-12).any():
                residual = False
                axes[2].plot(t, A, ":", **look)
            axes[3].semilogy(middle, (path.T * variance).where(variance > 0, torch.nan), **look)
            axes[4].plot(1 - A, C, **look)
            heard = (A > 0) & (C > 0)
            axes[5].plot(t[heard], 20 * (A[heard] / C[heard]).log10(), **look)
        lines = [
            Line2D([], [], color="grey", linestyle="-", label=r"$B_t$ ($\bar\alpha_t$)"),
            Line2D([], [], color="grey", linestyle="--", label=r"$C_t$ ($\bar\beta_t$)"),
            Line2D([], [], color="grey", linestyle=":", label=r"$A_t$"),
        ]
        axes[2].legend(handles=lines[:2] if residual else lines)
        axes[5].axhline(0, color="grey", linewidth=0.8)
        legend(drawn, axes[0])
