"""Compare settings by how many steps they need: every variant with every seed, in one table.

    python -m benchmarks.search --out results/search.csv --runs runs/search \\
        --seeds 1 2 --levels -15 0 15 \\
        --variant "base:" --variant "lr 2e-3:--lr 2e-3" \\
        -- --env-name PongDeterministic-v4 --num-env-steps 6e5

Runs are made one after another. Every run of main.py gets the flags after `--` and the flags after
its variant's colon. Runs that are already in the folder are not repeated, so a search can be
interrupted and continued.
"""

import argparse
import csv
import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.solve import draw, main_py, write_csv
from workers.records.provenance import git_commit, machine

COLUMNS = {"steps": "time/total_timesteps", "seconds": "time/time_elapsed"}
QUIET = ("--eval-interval", "0", "--eval-episodes", "1", "--video-interval", "0")


def train(arguments: list[str], *, seed: int, run: Path) -> None:
    """Run main.py once, unless the run's folder says that it is done."""
    status = run / "status.json"
    if status.exists() and json.loads(status.read_text())["state"] == "done":
        return
    command = main_py(arguments, seed=seed, run=run)
    subprocess.run([*command, *QUIET], check=True, stdout=subprocess.DEVNULL)
    (run / "commit.txt").write_text(str(git_commit()))


def summary(run: Path, *, levels: list[float]) -> dict[str, Any]:
    """Return when the training return reached each level, and means over the whole run.

    The keys are `steps_to_LEVEL` and `seconds_to_LEVEL`; None means that it was never reached.
    """
    with open(run / "metrics.csv") as file:
        rows = [
            {key: float(value) for key, value in row.items() if value}
            for row in csv.DictReader(file)
        ]
    rated = [row for row in rows if "rollout/ep_rew_mean" in row]
    returns = [row["rollout/ep_rew_mean"] for row in rated]
    lags = [row.get("async/policy_lag_mean", 0) for row in rows]
    reached: dict[str, Any] = {}
    for level in levels:
        first = next((row for row in rated if row["rollout/ep_rew_mean"] >= level), None)
        for unit, column in COLUMNS.items():
            reached[f"{unit}_to_{level:g}"] = round(first[column], 1) if first else None
    last = rows[-1]
    return {
        "steps": int(last["time/total_timesteps"]),
        "seconds": round(last["time/time_elapsed"], 1),
        "updates": int(last["train/n_updates"]),
        "policy_lag": round(sum(lags) / len(lags), 2),
        "last_return": round(returns[-1], 2),
        "mean_return": round(sum(returns) / len(returns), 2),
        **reached,
    }


def parse() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="the table, a .csv file")
    add("--picture", type=Path, help="the curves by steps and by minutes, a .png file")
    add("--runs", type=Path, default=Path("runs") / "search", help="folder of the run folders")
    add("--seeds", type=int, nargs="+", default=[1, 2])
    add("--levels", type=float, nargs="+", default=[-15.0, 0.0, 15.0, 18.0])
    add("--variant", action="append", required=True, help="NAME:FLAGS, repeatable")
    add("arguments", nargs="+", help="flags of main.py, after --")
    return parser.parse_args()


def main() -> None:
    """Make the missing runs; write the table after each run."""
    options = parse()
    table: list[dict[str, Any]] = []
    runs: list[Path] = []
    for seed in options.seeds:
        for variant in options.variant:
            name, _, flags = variant.partition(":")
            run = options.runs / f"{name} s{seed}"
            train([*options.arguments, *shlex.split(flags)], seed=seed, run=run)
            measured = summary(run, levels=options.levels)
            row = {"variant": name, "flags": flags, "seed": seed, **measured}
            table.append(row | {"commit": (run / "commit.txt").read_text(), "machine": machine()})
            print(json.dumps(row), flush=True)
            write_csv(options.out, table)
            runs.append(run)
            if options.picture:
                draw(runs, title=" ".join(options.arguments), path=options.picture)


if __name__ == "__main__":
    main()
