"""Prove that a change leaves every bit as it was: train before and after it, and compare.

    python -m tests.oracle record before --program ../a-checkout-of-the-old-commit
    python -m tests.oracle record after
    python -m tests.oracle record after-resumed --go-on-from before
    python -m tests.oracle compare before after
    python -m tests.oracle compare before after-resumed

At a barrier a seed fixes every bit of a run. Without a barrier it does so if a single worker
trains. Each case below is a run of `main.py` as a user starts it, a few dozen updates long. Cases
with three workers are stopped half-way and resumed. `--go-on-from` takes the stopped halves of
another recording, so that one commit's run continues under another commit.

Compare recordings of one machine only: another processor rounds otherwise.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ROOT = Path(__file__).parent.parent
ENVIRONMENTS: dict[str, list[str]] = {
    "pong": ["--env-name", "PongDeterministic-v4"],  # one frame of 42x42, LSTM
    "breakout": ["--env-name", "BreakoutNoFrameskip-v4"],  # four frames of 84x84
    "halfcheetah": ["--env-name", "HalfCheetah-v4"],
    "hopper": ["--env-name", "Hopper-v4"],
    "cartpole": ["--env-name", "CartPole-v1", "--recurrent", "gru"],
}
# Steps of a case, by algorithm and environment: some thirty updates.
STEPS = {
    "a3c": {
        "pong": 1_000,
        "breakout": 1_000,
        "halfcheetah": 10_000,
        "hopper": 50_000,
        "cartpole": 1_000,
    },
    "a2c": {
        "pong": 5_000,
        "breakout": 5_000,
        "halfcheetah": 10_000,
        "hopper": 50_000,
        "cartpole": 4_000,
    },
    "ppo": {
        "pong": 3_000,
        "breakout": 2_100,
        "halfcheetah": 6_000,
        "hopper": 6_000,
        "cartpole": 1_500,
    },
    "acktr": {
        "pong": 15_000,
        "breakout": 12_800,
        "halfcheetah": 10_000,
        "hopper": 50_000,
        "cartpole": 20_000,
    },
}
# What the table above does not reach, with a number of workers and of steps.
SPECIAL: dict[str, tuple[list[str], int, int]] = {
    "authors-halfcheetah-1": (
        ["--env-name", "HalfCheetah-v4", "--algo", "acktr", "--preset", "authors"],
        1,
        15_000,
    ),
    "authors-halfcheetah-3": (
        ["--env-name", "HalfCheetah-v4", "--algo", "acktr", "--preset", "authors"],
        3,
        15_000,
    ),
    "authors-hopper-1": (
        ["--env-name", "Hopper-v4", "--algo", "acktr", "--preset", "authors"],
        1,
        15_000,
    ),
    "authors-hopper-3": (
        ["--env-name", "Hopper-v4", "--algo", "acktr", "--preset", "authors"],
        3,
        15_000,
    ),
    "a2c-pong-classic": (
        [
            "--env-name",
            "PongDeterministic-v4",
            "--algo",
            "a2c",
            "--preset",
            "classic",
            "--distributed-step-size",
            "5",
            "10",
        ],
        3,
        1_500,
    ),
    "a2c-pong-stack42": (
        ["--env-name", "PongDeterministic-v4", "--algo", "a2c", "--obs-mode", "stack42"],
        1,
        3_000,
    ),
    "a2c-breakout-bfloat16": (
        ["--env-name", "BreakoutNoFrameskip-v4", "--algo", "a2c", "--precision", "bfloat16"],
        1,
        1_600,
    ),
    "a2c-pong-impala": (
        ["--env-name", "PongDeterministic-v4", "--algo", "a2c", "--network", "impala"],
        1,
        1_600,
    ),
    "a2c-hopper-lstm": (
        [
            "--env-name",
            "Hopper-v4",
            "--algo",
            "a2c",
            "--recurrent",
            "lstm",
            "--num-shared-layers",
            "1",
        ],
        3,
        20_000,
    ),
    "ppo-cartpole-limits": (
        [
            "--env-name",
            "CartPole-v1",
            "--algo",
            "ppo",
            "--use-clipped-value-loss",
            "--target-kl",
            "0.01",
        ],
        3,
        4_000,
    ),
    "ppo-hopper-whole-episodes": (
        [
            "--env-name",
            "Hopper-v4",
            "--algo",
            "ppo",
            "--whole-episodes",
            "--envs-per-process",
            "1",
            "--num-steps",
            "64",
        ],
        3,
        6_000,
    ),
    "acktr-cartpole-eigh": (
        ["--env-name", "CartPole-v1", "--algo", "acktr", "--kfac-inverse", "eigh"],
        3,
        20_000,
    ),
}
QUIET = [
    "--eval-interval",
    "0",
    "--video-interval",
    "0",
    "--eval-episodes",
    "1",
    "--save-dir",
    "",
    "--no-tensorboard",
]
SHORT = ["--max-episode-length", "100"]  # so that time limits cut episodes within a case


def cases() -> dict[str, tuple[list[str], int, int]]:
    """Flags, workers and steps of each case by its name."""
    found: dict[str, tuple[list[str], int, int]] = {}
    for algo, steps in STEPS.items():
        for environment, flags in ENVIRONMENTS.items():
            for workers in (1,) if algo == "a3c" else (1, 3):
                found[f"{algo}-{environment}-{workers}"] = (
                    [*flags, "--algo", algo],
                    workers,
                    steps[environment],
                )
    return found | SPECIAL


def main_py(program: Path, *arguments: str, folder: Path) -> None:
    """Run main.py of a checkout to its end; SystemExit with what it printed where it fails."""
    command = [sys.executable, str(program / "main.py"), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def train(name: str, place: Path, *, program: Path, halves: Path | None) -> None:
    """Train one case in `place`/`name`; `halves` holds the stopped halves of another recording."""
    flags, workers, steps = cases()[name]
    run, half = place / name, place / f"{name}-half"
    if workers == 1:
        if halves is None:
            more = ["--num-processes", "1", "--num-env-steps", str(steps), "--run-dir", str(run)]
            main_py(program, *flags, *more, *QUIET, *SHORT, folder=place)
        return
    if halves is None:
        more = [
            "--num-processes",
            str(workers),
            "--num-env-steps",
            str(steps // 2),
            "--run-dir",
            str(half),
        ]
        main_py(program, *flags, *more, *QUIET, *SHORT, folder=place)
        halves = place
    shutil.copytree(halves / half.name, run)
    main_py(program, "--resume", str(run), "--num-env-steps", str(steps), folder=place)


def learned(run: Path) -> dict[str, Tensor]:
    """What the newest checkpoint of a run holds, as flat tensors."""
    state: dict[str, Any] = torch.load(max((run / "checkpoints").glob("*.pt")), weights_only=True)
    tensors = {"parameters": state["parameters"], "optimizer": state["statistics"]}
    for name in ("normaliser", "returns"):
        saved = state[name]
        count = torch.tensor([saved["count"]], dtype=torch.float64)
        tensors[name] = torch.cat([count, saved["mean"].flatten(), saved["m2"].flatten()])
    return tensors | {"steps": torch.tensor([state["steps"]])}


def digest(tensor: Tensor) -> str:
    """The first digits of the sha256 of a tensor's bytes."""
    return hashlib.sha256(tensor.numpy().tobytes()).hexdigest()[:12]


def record(options: argparse.Namespace) -> None:
    """Train all cases, or those named, and print their hashes."""
    place = Path(options.folder).absolute()
    place.mkdir(parents=True, exist_ok=True)
    halves = Path(options.go_on_from).absolute() if options.go_on_from else None
    for name in options.case or cases():
        shutil.rmtree(place / name, ignore_errors=True)
        train(name, place, program=Path(options.program).absolute(), halves=halves)
        if (place / name).exists():
            print(
                f"{name:32}",
                *(digest(tensor) for tensor in learned(place / name).values()),
                flush=True,
            )


def compare(options: argparse.Namespace) -> int:
    """Print a row a case; 1 where anything differs."""
    before, after, different = Path(options.before), Path(options.after), 0
    print(
        "| case | "
        + " | ".join(("parameters", "optimizer", "normaliser", "returns", "steps"))
        + " |"
    )
    print("|---|---|---|---|---|---|")
    for name in cases():
        if not (before / name).exists() or not (after / name).exists():
            continue
        pairs = zip(learned(before / name).values(), learned(after / name).values(), strict=True)
        cells = [_cell(one, other) for one, other in pairs]
        different += any(cell[0] != "=" for cell in cells)
        print(f"| {name} | " + " | ".join(cells) + " |")
    print(f"\n{different} cases differ" if different else "\nevery bit is the same")
    return int(different > 0)


def _cell(one: Tensor, other: Tensor) -> str:
    if one.shape != other.shape:
        return f"{list(one.shape)} and {list(other.shape)}"
    if torch.equal(one, other):
        return f"= {digest(one)}"
    gap = (one.double() - other.double()).abs()
    where = int((one != other).sum())
    largest, size = float(gap.max()), float(one.abs().max())
    return f"{where} of {one.numel()} differ, by {largest:.1e} at most (of {size:.1e})"


def main() -> int:
    """Record or compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    recorder = commands.add_parser("record", help="train all cases")
    recorder.add_argument("folder", help="where the runs go")
    recorder.add_argument(
        "--program", default=str(ROOT), help="checkout whose main.py trains (default: this one)"
    )
    recorder.add_argument("--go-on-from", help="a recording whose stopped halves are resumed")
    recorder.add_argument("--case", action="append", help="only this one, repeatable")
    recorder.set_defaults(call=record)
    comparer = commands.add_parser("compare", help="compare two recordings")
    comparer.add_argument("before")
    comparer.add_argument("after")
    comparer.set_defaults(call=compare)
    options = parser.parse_args()
    return options.call(options) or 0


if __name__ == "__main__":
    sys.exit(main())
