"""Trains until solved, over several seeds, and plays what was learned: a table, and the curves in one picture.

    python -m benchmarks.solve --out results/pong_a3c --stop-reward 18 --max-seconds 600 --seeds 1 2 3 -- \\
        --env-name PongDeterministic-v4 --num-processes 2 --envs-per-process 8

What follows `--` goes to main.py. Seconds are wall clock since the command was given: until training reached the reward, and
until the command was done, its last evaluation and video included.
"""

import argparse
import csv
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from workers.records.provenance import git_commit, machine

ROOT = Path(__file__).parent.parent


def train(arguments: list[str], *, seed: int, run: Path) -> dict[str, Any]:
    """One run of main.py; what it came to."""
    command = [
        sys.executable,
        str(ROOT / "main.py"),
        *arguments,
        "--seed",
        str(seed),
        "--run-dir",
        str(run),
        "--save-dir",
        "",
    ]
    began = time.time()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.time() - began
    status = json.loads((run / "status.json").read_text())
    return {
        "seed": seed,
        "command_seconds": round(seconds, 1),
        "solved_seconds": round(end_of_training(run) - began, 1),
        "steps": status["steps"],
        "updates": status["updates"],
        "train_return_mean": round(
            math.nan if status["train_return_mean"] is None else status["train_return_mean"], 2
        ),
    }


def end_of_training(run: Path) -> float:
    """When the last training episode ended, in seconds since 1970."""
    header, _, *rows = (run / "0.monitor.csv").read_text().splitlines()
    return float(json.loads(header.lstrip("#"))["t_start"]) + float(rows[-1].split(",")[2])


def play(run: Path, *, episodes: int) -> dict[str, Any]:
    """Greedy episodes with what the run has learned last, by enjoy.py."""
    command = [
        sys.executable,
        str(ROOT / "enjoy.py"),
        "--run-dir",
        str(run),
        "--newest",
        "--episodes",
        str(episodes),
        "--json",
    ]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {
        f"greedy_{episodes}_mean": round(result["mean"], 2),
        f"greedy_{episodes}_std": round(result["std"], 2),
        f"greedy_{episodes}_min": min(result["returns"]),
        "distinct_games": len({*zip(result["returns"], result["lengths"], strict=True)}),
    }


def draw(runs: list[Path], *, title: str, path: Path) -> None:
    """Training return against steps and against minutes, a line a seed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    for axes, column, unit, scale in (
        (figure.add_subplot(1, 2, 1), "time/total_timesteps", "environment steps (millions)", 1e6),
        (figure.add_subplot(1, 2, 2), "time/time_elapsed", "wall clock (minutes)", 60.0),
    ):
        for number, run in enumerate(runs):
            with open(run / "metrics.csv") as file:
                rows = [row for row in csv.DictReader(file) if row["rollout/ep_rew_mean"]]
            x = [float(row[column]) / scale for row in rows]
            axes.plot(
                x,
                [float(row["rollout/ep_rew_mean"]) for row in rows],
                label=run.name,
                color=f"C{number}",
            )
        axes.set_xlabel(unit)
        axes.set_ylabel("return, mean of the last 100 training episodes")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Runs the seeds one after another; the table is written after each, so that a cut leaves what was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="results without suffix: .csv and .png are added"
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs") / "solve", help="folder of the run folders"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--stop-reward", type=float, required=True)
    parser.add_argument("--max-seconds", type=float, required=True)
    parser.add_argument("--episodes", type=int, default=30, help="greedy episodes after training")
    parser.add_argument("arguments", nargs="+", help="flags of main.py, after --")
    options = parser.parse_args()
    stop = ["--stop-reward", str(options.stop_reward), "--max-seconds", str(options.max_seconds)]
    rows: list[dict[str, Any]] = []
    for seed in options.seeds:
        run = options.runs / f"seed {seed}"
        row = train([*options.arguments, *stop], seed=seed, run=run)
        began = time.monotonic()
        row |= play(run, episodes=options.episodes)
        rows.append(
            row
            | {
                "play_seconds": round(time.monotonic() - began, 1),
                "commit": git_commit(),
                "machine": machine(),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
        with open(options.out.with_suffix(".csv"), "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
        runs = [options.runs / f"seed {done['seed']}" for done in rows]
        draw(runs, title=" ".join(options.arguments), path=options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
