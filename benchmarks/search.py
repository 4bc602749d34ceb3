"""Compares settings by how many steps they need: every variant with every seed, one run after another, into one table.

    python -m benchmarks.search --out results/search.csv --runs runs/search --seeds 1 2 --levels -15 0 15 \\
        --variant "base:" --variant "lr 2e-3:--lr 2e-3" -- --env-name PongDeterministic-v4 --num-env-steps 6e5

What follows `--` goes to every run of main.py, what follows a variant's colon to that variant's. Runs that are already in the
folder are not repeated, so that a search can be cut and go on.
"""

import argparse
import csv
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.solve import draw
from workers.records.provenance import git_commit, machine

ROOT = Path(__file__).parent.parent
COLUMNS = {"steps": "time/total_timesteps", "seconds": "time/time_elapsed"}


def train(arguments: list[str], *, seed: int, run: Path) -> None:
    """One run of main.py, unless its folder says that it was done."""
    status = run / "status.json"
    if status.exists() and json.loads(status.read_text())["state"] == "done":
        return
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
    command += ["--eval-interval", "0", "--eval-episodes", "1", "--video-interval", "0"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (run / "commit.txt").write_text(str(git_commit()))


def summary(run: Path, *, levels: list[float]) -> dict[str, Any]:
    """When the training return reached each level, in steps and in seconds, and the means over the whole run."""
    with open(run / "metrics.csv") as file:
        rows = [
            {key: float(value) for key, value in row.items() if value}
            for row in csv.DictReader(file)
        ]
    rated = [row for row in rows if "rollout/ep_rew_mean" in row]
    returns = [row["rollout/ep_rew_mean"] for row in rated]
    reached: dict[str, Any] = {}
    for level in levels:
        first: dict[str, float] = next(
            (row for row in rated if row["rollout/ep_rew_mean"] >= level), {}
        )
        reached |= {
            f"{unit}_to_{level:g}": round(first[column], 1) if first else None
            for unit, column in COLUMNS.items()
        }
    last = rows[-1]
    return {
        "steps": int(last["time/total_timesteps"]),
        "seconds": round(last["time/time_elapsed"], 1),
        "updates": int(last["train/n_updates"]),
        "policy_lag": round(
            sum(row.get("async/policy_lag_mean", 0) for row in rows) / len(rows), 2
        ),
        "last_return": round(returns[-1], 2),
        "mean_return": round(sum(returns) / len(returns), 2),
        **reached,
    }


def main() -> None:
    """Runs what is missing; the table is written after each run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="the table, a .csv file")
    parser.add_argument(
        "--picture", type=Path, help="the curves by steps and by minutes, a .png file"
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs") / "search", help="folder of the run folders"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--levels", type=float, nargs="+", default=[-15.0, 0.0, 15.0, 18.0])
    parser.add_argument("--variant", action="append", required=True, help="NAME:FLAGS, repeatable")
    parser.add_argument("arguments", nargs="+", help="flags of main.py, after --")
    options = parser.parse_args()
    table: list[dict[str, Any]] = []
    runs: list[Path] = []
    for seed in options.seeds:
        for variant in options.variant:
            name, _, flags = variant.partition(":")
            run = options.runs / f"{name} s{seed}"
            train([*options.arguments, *shlex.split(flags)], seed=seed, run=run)
            row = {
                "variant": name,
                "flags": flags,
                "seed": seed,
                **summary(run, levels=options.levels),
            }
            table.append(row | {"commit": (run / "commit.txt").read_text(), "machine": machine()})
            print(json.dumps(row), flush=True)
            with open(options.out, "w", newline="") as file:
                writer = csv.DictWriter(file, table[0].keys())
                writer.writeheader()
                writer.writerows(table)
            runs.append(run)
            if options.picture:
                draw(runs, title=" ".join(options.arguments), path=options.picture)


if __name__ == "__main__":
    main()
