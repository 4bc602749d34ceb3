"""Scores on MuJoCo: every environment with several seeds, then one seed for longer, into a table and a picture of the curves.

    python -m benchmarks.table_mujoco --out results/mujoco_a3c --runs runs/mujoco -- --num-processes 2 --envs-per-process 16

What follows `--` goes to main.py. The last-100 training return is of the policy as it explores, the evaluation is deterministic.
Seconds are wall clock of the whole training command. What is in the folder of the runs already is not repeated.
"""

import argparse
import csv
import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.solve import play, train
from workers.records.provenance import git_commit, machine

ENVIRONMENTS = (
    *("HalfCheetah-v4", "Hopper-v4", "Walker2d-v4", "Ant-v4", "Humanoid-v4"),
    *("Swimmer-v4", "Reacher-v4", "InvertedPendulum-v4", "InvertedDoublePendulum-v4"),
)
Row = dict[str, Any]


def measure(
    env_name: str, *, steps: int, seed: int, episodes: int, runs: Path, arguments: list[str]
) -> Row:
    """One run and its evaluation, or what was kept of them."""
    run = runs / f"{env_name} {steps} s{seed}"
    kept = run / "result.json"
    if not kept.exists():
        flags = ["--env-name", env_name, "--num-env-steps", str(steps)]
        flags += ["--eval-interval", "0", "--eval-episodes", "1", "--video-interval", "0"]
        trained = train([*flags, *arguments], seed=seed, run=run)
        played = play(run, episodes=episodes)
        kept.write_text(
            json.dumps(
                {
                    "env": env_name,
                    "steps": trained["steps"],
                    "seed": seed,
                    "train_return": trained["train_return_mean"],
                    "eval_mean": played[f"greedy_{episodes}_mean"],
                    "eval_std": played[f"greedy_{episodes}_std"],
                    "seconds": trained["command_seconds"],
                    "commit": git_commit(),
                    "machine": machine(),
                }
            )
        )
    row: Row = json.loads(kept.read_text())
    return row


def write_csv(path: Path, rows: list[Row]) -> None:
    """All rows as they were measured."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def write_table(path: Path, rows: list[Row], *, sizes: list[int], title: str) -> None:
    """One line an environment: mean and standard deviation over seeds of both returns, median seconds."""
    lines = [f"# {title}", ""]
    for size in sizes:
        lines += [
            f"## {size / 1e6:g} million steps",
            "",
            "| environment | seeds | training return | evaluation | seconds |",
        ]
        lines.append("|---|---|---|---|---|")
        for env_name in dict.fromkeys(row["env"] for row in rows):
            chosen = [
                row for row in rows if row["env"] == env_name and size <= row["steps"] < 1.5 * size
            ]
            if chosen:
                cells = [
                    _mean_and_std(row[name] for row in chosen)
                    for name in ("train_return", "eval_mean")
                ]
                seconds = statistics.median(row["seconds"] for row in chosen)
                lines.append(
                    f"| {env_name} | {len(chosen)} | {cells[0]} | {cells[1]} | {seconds:.0f} |"
                )
        lines.append("")
    path.write_text("\n".join(lines))


def _mean_and_std(values: Iterable[float]) -> str:
    numbers = [*values]
    digits = 0 if abs(statistics.mean(numbers)) >= 100 else 1
    spread = f" ± {statistics.pstdev(numbers):.{digits}f}" if len(numbers) > 1 else ""
    return f"{statistics.mean(numbers):.{digits}f}{spread}"


def draw(path: Path, runs: dict[str, list[Path]], *, title: str) -> None:
    """The training returns of each environment: the seeds' mean within their band from lowest to highest."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 9), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    for number, (env_name, folders) in enumerate(runs.items()):
        axes = figure.add_subplot(3, 3, number + 1)
        curves = [_curve(folder) for folder in folders]
        steps = np.linspace(max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves), 200)
        returns = np.stack([np.interp(steps, x, y) for x, y in curves])
        axes.fill_between(
            steps / 1e6, returns.min(axis=0), returns.max(axis=0), alpha=0.25, linewidth=0
        )
        axes.plot(steps / 1e6, returns.mean(axis=0))
        axes.set_title(env_name, fontsize=10)
        axes.grid(alpha=0.3)
        if number >= 6:
            axes.set_xlabel("environment steps (millions)")
        if number % 3 == 0:
            axes.set_ylabel("return, mean of last 100 episodes")
    figure.savefig(path, dpi=90)


def _curve(run: Path) -> tuple[list[float], list[float]]:
    with open(run / "metrics.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["rollout/ep_rew_mean"]]
    return [float(row["time/total_timesteps"]) for row in rows], [
        float(row["rollout/ep_rew_mean"]) for row in rows
    ]


def main() -> None:
    """Runs what is missing; table and picture are written after each run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="results without suffix: .csv, .md and .png are added",
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs") / "mujoco", help="folder of the run folders"
    )
    parser.add_argument("--envs", nargs="+", default=ENVIRONMENTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--num-env-steps", type=float, default=1e6)
    parser.add_argument(
        "--long-steps",
        type=float,
        default=5e6,
        help="of one more run each, with the first seed; 0: none",
    )
    parser.add_argument("--episodes", type=int, default=100, help="of an evaluation")
    parser.add_argument("arguments", nargs="+", help="flags of main.py, after --")
    options = parser.parse_args()
    short, long = int(options.num_env_steps), int(options.long_steps)
    plan = [(env_name, short, seed) for env_name in options.envs for seed in options.seeds]
    plan += [(env_name, long, options.seeds[0]) for env_name in options.envs] if long else []
    rows: list[Row] = []
    title = f"MuJoCo: {' '.join(options.arguments)}"
    for env_name, steps, seed in plan:
        rows.append(
            measure(
                env_name,
                steps=steps,
                seed=seed,
                episodes=options.episodes,
                runs=options.runs,
                arguments=options.arguments,
            )
        )
        print(json.dumps(rows[-1]), flush=True)
        write_csv(options.out.with_suffix(".csv"), rows)
        write_table(
            options.out.with_suffix(".md"),
            rows,
            sizes=[short, long] if long else [short],
            title=title,
        )
        done = [
            (env_name, options.runs / f"{env_name} {steps} s{seed}")
            for env_name, steps, seed in plan[: len(rows)]
        ]
        at_short = {
            name: [run for other, run in done if other == name and f" {short} " in run.name]
            for name, _ in done
        }
        draw(options.out.with_suffix(".png"), at_short, title=title)


if __name__ == "__main__":
    main()
