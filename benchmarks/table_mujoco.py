"""Measure scores on MuJoCo: every environment with several seeds, then one seed for longer.

    python -m benchmarks.table_mujoco --out results/mujoco_a3c --runs runs/mujoco \\
        -- --num-processes 2 --envs-per-process 16

The results are a table and a picture of the curves. main.py gets the flags after `--`.
The training return (last 100 episodes) is that of the exploring policy; the evaluation is
deterministic. Seconds are wall clock of the whole training command. Runs that are already in the
folder are not repeated.
"""

import argparse
import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.solve import curve, play, train, write_csv
from workers.records.provenance import git_commit, machine

ENVIRONMENTS = (
    "HalfCheetah-v4",
    "Hopper-v4",
    "Walker2d-v4",
    "Ant-v4",
    "Humanoid-v4",
    "Swimmer-v4",
    "Reacher-v4",
    "InvertedPendulum-v4",
    "InvertedDoublePendulum-v4",
)
Row = dict[str, Any]


def run_folder(runs: Path, env_name: str, steps: int, seed: int) -> Path:
    """Return the folder of one run."""
    return runs / f"{env_name} {steps} s{seed}"


def measure(
    env_name: str, *, steps: int, seed: int, episodes: int, runs: Path, arguments: list[str]
) -> Row:
    """Train and evaluate once, or return the kept result of the same run."""
    run = run_folder(runs, env_name, steps, seed)
    kept = run / "result.json"
    if not kept.exists():
        flags = ["--env-name", env_name, "--num-env-steps", str(steps)]
        flags += ["--eval-interval", "0", "--eval-episodes", "1", "--video-interval", "0"]
        trained = train([*flags, *arguments], seed=seed, run=run)
        played = play(run, episodes=episodes)
        result = {
            "env": env_name,
            "steps": trained["steps"],
            "seed": seed,
            "train_return": trained["train_return_mean"],
            "eval_mean": played[f"eval_{episodes}_mean"],
            "eval_std": played[f"eval_{episodes}_std"],
            "seconds": trained["command_seconds"],
            "commit": git_commit(),
            "machine": machine(),
        }
        kept.write_text(json.dumps(result))
    row: Row = json.loads(kept.read_text())
    return row


def write_table(path: Path, rows: list[Row], *, sizes: list[int], title: str) -> None:
    """Write one line an environment, in one table for each number of steps in `sizes`.

    A line has mean and standard deviation over seeds of both returns, and the median seconds.
    """
    lines = [f"# {title}", ""]
    for size in sizes:
        lines += [f"## {size / 1e6:g} million steps", ""]
        lines.append("| environment | seeds | training return | evaluation | seconds |")
        lines.append("|---|---|---|---|---|")
        of_size = [row for row in rows if size <= row["steps"] < 1.5 * size]
        for env_name in dict.fromkeys(row["env"] for row in of_size):
            lines.append(_line(env_name, [row for row in of_size if row["env"] == env_name]))
        lines.append("")
    path.write_text("\n".join(lines))


def _line(env_name: str, rows: list[Row]) -> str:
    training = _mean_and_std(row["train_return"] for row in rows)
    evaluation = _mean_and_std(row["eval_mean"] for row in rows)
    seconds = statistics.median(row["seconds"] for row in rows)
    return f"| {env_name} | {len(rows)} | {training} | {evaluation} | {seconds:.0f} |"


def _mean_and_std(values: Iterable[float]) -> str:
    numbers = [*values]
    mean = statistics.mean(numbers)
    digits = 0 if abs(mean) >= 100 else 1
    spread = f" ± {statistics.pstdev(numbers):.{digits}f}" if len(numbers) > 1 else ""
    return f"{mean:.{digits}f}{spread}"


def draw(path: Path, runs: dict[str, list[Path]], *, title: str) -> None:
    """Draw each environment's training returns: the seeds' mean, and a band from low to high."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 9), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    for number, (env_name, folders) in enumerate(runs.items()):
        axes = figure.add_subplot(3, 3, number + 1)
        curves = [curve(folder) for folder in folders]
        steps = np.linspace(max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves), 200)
        returns = np.stack([np.interp(steps, x, y) for x, y in curves])
        low, high = returns.min(axis=0), returns.max(axis=0)
        axes.fill_between(steps / 1e6, low, high, alpha=0.25, linewidth=0)
        axes.plot(steps / 1e6, returns.mean(axis=0))
        axes.set_title(env_name, fontsize=10)
        axes.grid(alpha=0.3)
        if number >= 6:
            axes.set_xlabel("environment steps (millions)")
        if number % 3 == 0:
            axes.set_ylabel("return, mean of last 100 episodes")
    figure.savefig(path, dpi=90)


def parse() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="results without suffix: adds .csv, .md and .png")
    add("--runs", type=Path, default=Path("runs") / "mujoco", help="folder of the run folders")
    add("--envs", nargs="+", default=ENVIRONMENTS)
    add("--seeds", type=int, nargs="+", default=[1, 2, 3])
    add("--num-env-steps", type=float, default=1e6)
    add(
        "--long-steps",
        type=float,
        default=5e6,
        help="steps of one more run of each environment, with the first seed; 0: none",
    )
    add("--episodes", type=int, default=100, help="of an evaluation")
    add("arguments", nargs="+", help="flags of main.py, after --")
    return parser.parse_args()


def main() -> None:
    """Make the missing runs; write tables and picture after each run."""
    options = parse()
    short, long = int(options.num_env_steps), int(options.long_steps)
    plan = [(env_name, short, seed) for env_name in options.envs for seed in options.seeds]
    if long:
        plan += [(env_name, long, options.seeds[0]) for env_name in options.envs]
    sizes = [short, long] if long else [short]
    title = f"MuJoCo: {' '.join(options.arguments)}"
    rows: list[Row] = []
    curves: dict[str, list[Path]] = {}
    for env_name, steps, seed in plan:
        row = measure(
            env_name,
            steps=steps,
            seed=seed,
            episodes=options.episodes,
            runs=options.runs,
            arguments=options.arguments,
        )
        rows.append(row)
        print(json.dumps(row), flush=True)
        write_csv(options.out.with_suffix(".csv"), rows)
        write_table(options.out.with_suffix(".md"), rows, sizes=sizes, title=title)
        if steps == short:
            folder = run_folder(options.runs, env_name, steps, seed)
            curves.setdefault(env_name, []).append(folder)
        draw(options.out.with_suffix(".png"), curves, title=title)


if __name__ == "__main__":
    main()
