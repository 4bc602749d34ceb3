"""The learning curve of a run as one picture: training and evaluation returns over environment steps."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from workers.records.records import STEPS, Evaluation, read_evaluations, read_metrics
from workers.records.run_folder import RunFolder, replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_POINTS = 4000  # finer than the picture
_TRAIN_COLOUR = "#4c78a8"
_EVAL_COLOUR = "#e4572e"
_TEXT_COLOUR = "#333333"


def draw_curve(folder: RunFolder, *, title: str) -> None:
    """Draw curve.png from metrics.csv and evaluations.npz, with what they hold so far; OSError if it cannot write."""
    rows = read_metrics(folder.metrics_csv, at_most=MOST_POINTS)
    figure, axes = _empty_picture(title)
    drawn = [_draw_training(axes, rows), _draw_evaluations(axes, _evaluations(folder))]
    if any(drawn):
        axes.legend(loc="best", frameon=True, framealpha=0.85, edgecolor="none")
    else:
        axes.set(xticks=[], yticks=[])
        axes.text(
            0.5,
            0.5,
            "no episode has ended yet",
            transform=axes.transAxes,
            ha="center",
            color="#888888",
        )
    axes.set_xlim(left=0.0)
    _add_wall_clock(axes, rows)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    with replacing(folder.curve) as file:
        file.write(buffer.getbuffer())


def _evaluations(folder: RunFolder) -> list[Evaluation]:
    try:
        return [entry for entry in read_evaluations(folder.evaluations) if entry[1]]
    except OSError:
        return []  # half a picture is better than none


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


def _draw_training(axes: Axes, rows: list[dict[str, float]]) -> bool:
    key = "rollout/ep_rew_mean"
    points = [
        (row[STEPS], row[key])
        for row in rows
        if STEPS in row and math.isfinite(row.get(key, math.nan))
    ]
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
    steps = np.array([entry[0] for entry in evaluations])
    means = np.array([np.mean(entry[1]) for entry in evaluations])
    lows, highs = (np.array([extreme(entry[1]) for entry in evaluations]) for extreme in (min, max))
    axes.fill_between(
        steps,
        lows,
        highs,
        color=_EVAL_COLOUR,
        alpha=0.15,
        linewidth=0,
        label="evaluation, min to max",
    )
    if len(steps) == 1:
        axes.vlines(
            steps, lows, highs, color=_EVAL_COLOUR, alpha=0.3, linewidth=6
        )  # a band needs two points
    size = 5 if len(steps) <= 60 else 0
    axes.plot(
        steps,
        means,
        color=_EVAL_COLOUR,
        linewidth=2.0,
        marker="o",
        markersize=size,
        label="evaluation, mean",
    )
    best = int(np.argmax(means))
    axes.plot(
        steps[best],
        means[best],
        "*",
        color=_EVAL_COLOUR,
        markersize=16,
        markeredgecolor="white",
        zorder=5,
    )
    axes.annotate(
        f"best {means[best]:.4g}",
        (steps[best], means[best]),
        xytext=(0, 12),
        textcoords="offset points",
        ha="center",
    )
    return True


def _add_wall_clock(axes: Axes, rows: list[dict[str, float]]) -> None:
    """Mark the wall-clock time along the top, where the run had come to by then."""
    from matplotlib.ticker import MaxNLocator

    key = "time/time_elapsed"
    points = sorted(
        (row[STEPS], row[key])
        for row in rows
        if STEPS in row and math.isfinite(row.get(key, math.nan))
    )
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
