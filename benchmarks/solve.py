"""Train until solved, over several seeds, and play the result: a table, and a picture of curves.

    python -m benchmarks.solve --out results/pong_a3c --stop-reward 18 --max-seconds 600 \\
        --seeds 1 2 3 -- \\
        --env-name PongDeterministic-v4 --num-processes 2 --envs-per-process 8

main.py gets the flags after `--`. Seconds are wall clock since the start of the command:
`solved_seconds` until training reached the reward, and `command_seconds` until the command ended,
with its last evaluation and video.
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

import numpy as np
import torch

from envs.episodes import Points
from envs.make import make
from workers.play import play_episodes
from workers.records import checkpoint
from workers.records.provenance import git_commit, machine
from workers.snapshot import restore_policy

ROOT = Path(__file__).parent.parent


def main_py(arguments: list[str], *, seed: int, run: Path) -> list[str]:
    """Return a command that trains with `arguments`, into the folder `run`."""
    where = ["--run-dir", str(run), "--save-dir", ""]
    return [sys.executable, str(ROOT / "main.py"), *arguments, "--seed", str(seed), *where]


def train(arguments: list[str], *, seed: int, run: Path) -> dict[str, Any]:
    """Run main.py once and return its results."""
    began = time.time()
    command = main_py(arguments, seed=seed, run=run)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.time() - began
    status = json.loads((run / "status.json").read_text())
    mean = status["train_return_mean"]
    return {
        "seed": seed,
        "command_seconds": round(seconds, 1),
        "solved_seconds": round(end_of_training(run) - began, 1),
        "steps": status["steps"],
        "updates": status["updates"],
        "train_return_mean": round(math.nan if mean is None else mean, 2),
    }


def end_of_training(run: Path) -> float:
    """Return when the last training episode ended, in seconds since 1970."""
    header, _, *rows = (run / "0.monitor.csv").read_text().splitlines()
    return float(json.loads(header.lstrip("#"))["t_start"]) + float(rows[-1].split(",")[2])


def play(run: Path, *, episodes: int) -> dict[str, Any]:
    """Play episodes with the run's newest snapshot, as it is evaluated; return their statistics.

    `different_games` counts those whose points fell at different frames.
    """
    torch.set_num_threads(1)
    _, snapshot, _ = checkpoint.latest(run / "checkpoints")
    model, config, resolved = restore_policy(snapshot)
    length, sampled = config.max_episode_length, config.eval_sampled
    environment = Points(make(resolved, training=False, max_episode_length=length))
    returns, games = [], set()
    for seed in range(1, episodes + 1):
        played = play_episodes(model, [environment], seeds=[seed], sampled=sampled, steps=0)
        assert played is not None
        returns.append(played.returns[0])
        games.add(environment.points)
    environment.close()
    return {
        "actions": "drawn" if sampled else "most probable",
        f"eval_{episodes}_mean": round(float(np.mean(returns)), 2),
        f"eval_{episodes}_std": round(float(np.std(returns)), 2),
        f"eval_{episodes}_min": min(returns),
        "different_games": len(games),
    }


def curve(run: Path, *, column: str = "time/total_timesteps") -> tuple[list[float], list[float]]:
    """Return `column` and the training return from a run's metrics, where there is a return."""
    with open(run / "metrics.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["rollout/ep_rew_mean"]]
    x = [float(row[column]) for row in rows]
    y = [float(row["rollout/ep_rew_mean"]) for row in rows]
    return x, y


def draw(runs: list[Path], *, title: str, path: Path) -> None:
    """Draw the training return against steps and against minutes, one line a run."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    for place, column, unit, scale in (
        (1, "time/total_timesteps", "environment steps (millions)", 1e6),
        (2, "time/time_elapsed", "wall clock (minutes)", 60.0),
    ):
        axes = figure.add_subplot(1, 2, place)
        for number, run in enumerate(runs):
            x, y = curve(run, column=column)
            axes.plot([value / scale for value in x], y, label=run.name, color=f"C{number}")
        axes.set_xlabel(unit)
        axes.set_ylabel("return, mean of the last 100 training episodes")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write all rows, with a header of the first row's keys."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def parse() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="results without suffix: adds .csv and .png")
    add("--runs", type=Path, default=Path("runs") / "solve", help="folder of the run folders")
    add("--seeds", type=int, nargs="+", default=[1, 2, 3])
    add("--stop-reward", type=float, required=True)
    add("--max-seconds", type=float, required=True)
    add(
        "--episodes",
        type=int,
        default=30,
        help="episodes after training, played as they are evaluated",
    )
    add("arguments", nargs="+", help="flags of main.py, after --")
    return parser.parse_args()


def main() -> None:
    """Run the seeds one after another; write table and picture after each, for interruptions."""
    options = parse()
    stop = ["--stop-reward", str(options.stop_reward), "--max-seconds", str(options.max_seconds)]
    rows: list[dict[str, Any]] = []
    runs: list[Path] = []
    for seed in options.seeds:
        runs.append(options.runs / f"seed {seed}")
        row = train([*options.arguments, *stop], seed=seed, run=runs[-1])
        began = time.monotonic()
        row |= play(runs[-1], episodes=options.episodes)
        row["play_seconds"] = round(time.monotonic() - began, 1)
        rows.append(row | {"commit": git_commit(), "machine": machine()})
        print(json.dumps(rows[-1]), flush=True)
        write_csv(options.out.with_suffix(".csv"), rows)
        draw(runs, title=" ".join(options.arguments), path=options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
