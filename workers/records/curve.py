"""The learning curve of a run as one picture.

It shows training and evaluation returns over environment steps.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from workers.records.atomic import replacing
from workers.records.evaluation import Evaluation, read_evaluations
from workers.records.metrics import read_metrics
from workers.records.run_folder import RunFolder
from workers.records.statistics import STEPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_POINTS = 4000  # more than the picture has columns
_TRAIN_COLOUR = "#4c78a8"
_EVAL_COLOUR = "#e4572e"
_TEXT_COLOUR = "#333333"


def draw_curve(folder: RunFolder, *, title: str) -> None:
    """Draw curve.png from metrics.csv and evaluations.npz. OSError if it cannot be written."""
    rows = read_metrics(folder.metrics_csv, at_most=MOST_POINTS)
    figure, axes = _empty_picture(title)
    drawn = [_draw_training(axes, rows), _draw_evaluations(axes, _evaluations(folder))]
    if any(drawn):
        axes.legend(loc="best", frameon=True, framealpha=0.85, edgecolor="none")
    else:
        axes.set(xticks=[], yticks=[])
        text = "no episode has ended yet"
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color="#888888")
    axes.set_xlim(left=0.0)
    _add_wall_clock(axes, rows)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    with replacing(folder.curve) as file:
        file.write(buffer.getbuffer())


def _evaluations(folder: RunFolder) -> list[Evaluation]:
    try:
        evaluations = read_evaluations(folder.evaluations)
    except OSError:
        return []  # draw the training alone
    return [evaluation for evaluation in evaluations if evaluation.sound]


def _empty_picture(title: str) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(12, 7), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=15, fontweight="bold", color=_TEXT_COLOUR, loc="left", pad=12)
    axes.set_xlabel("environment steps", fontsize=12, color=_TEXT_COLOUR)
    axes.set_ylabel("episode return (raw rewards)", fontsize=12, color=_TEXT_COLOUR)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(True, color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=11, colors=_TEXT_COLOUR)
    return figure, axes


def _points(rows: list[dict[str, float]], key: str) -> list[tuple[float, float]]:
    """Return (steps, value) of the rows where `key` is known and finite."""
    return [
        (row[STEPS], row[key])
        for row in rows
        if STEPS in row and math.isfinite(row.get(key, math.nan))
    ]


def _draw_training(axes: Axes, rows: list[dict[str, float]]) -> bool:
    points = _points(rows, "rollout/ep_rew_mean")
    if not points:
        return False
    steps, returns = np.array(points).T
    marker = "o" if len(points) == 1 else ""
    label = "training, mean of the last 100 episodes"
    axes.plot(steps, returns, color=_TRAIN_COLOUR, linewidth=1.8, marker=marker, label=label)
    return True


def _draw_evaluations(axes: Axes, evaluations: list[Evaluation]) -> bool:
    if not evaluations:
        return False
    steps = np.array([evaluation.steps for evaluation in evaluations])
    means = np.array([evaluation.mean for evaluation in evaluations])
    lows = np.array([min(evaluation.sound) for evaluation in evaluations])
    highs = np.array([max(evaluation.sound) for evaluation in evaluations])
    band: Any = {"color": _EVAL_COLOUR, "alpha": 0.15, "linewidth": 0}
    axes.fill_between(steps, lows, highs, label="evaluation, min to max", **band)
    if len(steps) == 1:  # a band needs two points
        axes.vlines(steps, lows, highs, color=_EVAL_COLOUR, alpha=0.3, linewidth=6)
    axes.plot(
        steps,
        means,
        color=_EVAL_COLOUR,
        linewidth=2.0,
        marker="o",
        markersize=5 if len(steps) <= 60 else 0,
        label="evaluation, mean",
    )
    best = int(np.argmax(means))
    _mark_best(axes, steps[best], means[best])
    return True


def _mark_best(axes: Axes, steps: float, mean: float) -> None:
    star: Any = {"markersize": 16, "markeredgecolor": "white", "zorder": 5}
    axes.plot(steps, mean, "*", color=_EVAL_COLOUR, **star)
    axes.annotate(
        f"best {mean:.4g}",
        (steps, mean),
        xytext=(0, 12),
        textcoords="offset points",
        ha="center",
    )


def _add_wall_clock(axes: Axes, rows: list[dict[str, float]]) -> None:
    """Mark along the top the wall-clock time at which the run had made these steps."""
    from matplotlib.ticker import MaxNLocator

    points = sorted(_points(rows, "time/time_elapsed"))
    if not points or points[-1][1] <= 0:
        return
    steps, seconds = np.array([(0.0, 0.0), *points]).T
    unit, size = ("minutes", 60.0) if seconds[-1] >= 180 else ("seconds", 1.0)
    ticks: Any = MaxNLocator(nbins=8, steps=[1, 2, 2.5, 5, 10]).tick_values(0.0, seconds[-1] / size)
    ticks = ticks[(ticks >= 0) & (ticks <= seconds[-1] / size)]
    top = axes.secondary_xaxis("top")
    top.set_xticks(np.interp(ticks * size, seconds, steps), [f"{tick:g}" for tick in ticks])
    top.set_xlabel(f"wall-clock {unit}", fontsize=11, color="#888888")
    top.tick_params(labelsize=10, colors="#888888")
    top.spines["top"].set_visible(False)
