"""Compare training steps per second with those of the bare environments on the same cores.

    python -m benchmarks.throughput --setting PongDeterministic-v4:2x8 \\
        --setting PongDeterministic-v4:16x1

Bare: one process a core steps an environment made by gymnasium with random actions, and does
nothing else. Training: main.py as a user starts it, with learning switched on and the test worker
idle. Start-up is left out of both. They are measured in turn; a ratio is the median over rounds.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from workers.process import THREAD_VARIABLES, limit_threads
from workers.records.provenance import git_commit, machine

ROOT = Path(__file__).parent.parent
WARM_UP = 8.0  # seconds of a training run that do not count


def step_bare(env_name: str, seed: int, seconds: float, pipe: Connection) -> None:
    """Step one bare environment with random actions for `seconds`; send steps per second.

    Sends "ready" first, and starts when it receives something.
    """
    import gymnasium

    from envs.ids import resolve
    from envs.physics import quieten_mujoco

    quieten_mujoco()
    resolved = resolve(env_name)
    env = gymnasium.make(resolved.id, **resolved.kwargs)
    skip = 4 if resolved.stacked and resolved.kwargs.get("frameskip") == 1 else 1
    env.reset(seed=seed)
    env.action_space.seed(seed)
    pipe.send("ready")
    pipe.recv()
    steps, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        for _ in range(100):
            action = env.action_space.sample()
            for _ in range(skip):
                _, _, terminated, truncated, _ = env.step(action)
                if terminated or truncated:
                    env.reset()
                    break
        steps += 100
    pipe.send(steps / (time.perf_counter() - began))


def measure_bare(env_name: str, seconds: float) -> float:
    """Return the agent steps per second of the bare environments on all cores together."""
    context = get_context("spawn")
    pipes, children = [], []
    for seed in range(os.cpu_count() or 1):
        ours, theirs = context.Pipe()
        child = context.Process(
            target=step_bare, args=(env_name, seed, seconds, theirs), daemon=True
        )
        child.start()
        pipes.append(ours)
        children.append(child)
    for pipe in pipes:
        pipe.recv()
    for pipe in pipes:
        pipe.send("go")
    total = sum(pipe.recv() for pipe in pipes)
    for child in children:
        child.join()
    return float(total)


def measure_training(
    env_name: str,
    workers: int,
    envs: int,
    seconds: float,
    extra: list[str],
    *,
    program: Path = ROOT,
    core: int | None = None,
) -> dict[str, float]:
    """Train with main.py and return what it reaches.

    That is steps and updates per second, the policy lag, the milliseconds of a pull and of a
    push, and the seconds from the command to the first gradient. `program` is the checkout whose
    main.py trains; `core` is the only core that it may use (Linux).
    """
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [
            *(() if core is None else ("taskset", "-c", str(core))),
            *(sys.executable, str(program / "main.py")),
            *("--env-name", env_name),
            *("--num-processes", str(workers)),
            *("--envs-per-process", str(envs)),
            *("--max-seconds", str(WARM_UP + seconds)),
            *("--eval-interval", "0"),
            *("--eval-episodes", "1"),
            *("--video-interval", "0"),
            *("--save-dir", ""),
            *("--run-dir", str(run)),
            *("--log-interval", "1"),
            *extra,
        ]
        began = time.perf_counter()
        child = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
        first_gradient = wait_for_first_gradient(run, child)
        if child.wait() != 0 or first_gradient is None:
            raise SystemExit(f"training ended with exit code {child.returncode}")
        return {**speeds(run), "first_gradient_seconds": first_gradient - began}


def wait_for_first_gradient(run: Path, child: subprocess.Popen[bytes]) -> float | None:
    """Return the time of the first gradient; None if `child` ends before."""
    log = run / "log.txt"
    while child.poll() is None:
        time.sleep(0.02)
        if log.exists() and "first gradient" in log.read_text():
            return time.perf_counter()
    return None


def speeds(run: Path) -> dict[str, float]:
    """Return rates and means over a run's metrics after the warm-up."""
    with open(run / "metrics.csv") as file:
        everything = [*csv.DictReader(file)]
    rows = [row for row in everything if float(row["time/time_elapsed"]) > WARM_UP]
    first, last = rows[0], rows[-1]
    duration = float(last["time/time_elapsed"]) - float(first["time/time_elapsed"])

    def rate(name: str) -> float:
        return (float(last[name]) - float(first[name])) / duration

    def mean(name: str) -> float:
        return statistics.mean(float(row[name]) for row in rows[1:])

    return {
        "steps_per_second": rate("time/total_timesteps"),
        "updates_per_second": rate("train/n_updates"),
        "policy_lag_mean": mean("async/policy_lag_mean"),
        "pull_ms": mean("async/pull_ms"),
        "push_ms": mean("async/push_ms"),
    }


def train_with_sb3(env_name: str, algo: str, seconds: float, pipe: Connection) -> None:
    """Train with Stable-Baselines3's own settings for vectors; send steps per second.

    Steps are counted for `seconds` after the warm-up.
    """
    import stable_baselines3
    from stable_baselines3.common.callbacks import BaseCallback

    class Clock(BaseCallback):  # type: ignore[misc]
        ready = time.perf_counter() + WARM_UP
        began = 0.0
        steps = 0
        done = False

        def _on_rollout_start(self) -> None:
            now = time.perf_counter()
            if not self.began and now > self.ready:
                self.began, self.steps = now, self.num_timesteps
            elif self.began and not self.done and now - self.began > seconds:
                pipe.send((self.num_timesteps - self.steps) / (now - self.began))
                self.done = True

        def _on_step(self) -> bool:
            return not self.done

    algorithm = {"ppo": stable_baselines3.PPO, "a2c": stable_baselines3.A2C}[algo]
    algorithm("MlpPolicy", env_name, device="cpu").learn(10**9, callback=Clock())


def measure_sb3(env_name: str, algo: str, seconds: float) -> float:
    """Return the steps per second of Stable-Baselines3, with as many threads as it chooses."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    threads = {name: os.environ.pop(name) for name in THREAD_VARIABLES if name in os.environ}
    child = context.Process(
        target=train_with_sb3, args=(env_name, algo, seconds, theirs), daemon=True
    )
    child.start()
    os.environ.update(threads)
    speed = float(ours.recv())
    child.join()
    return speed


def measure(
    setting: str, *, rounds: int, seconds: float, beside_sb3: str | None, extra: list[str]
) -> dict[str, Any]:
    """Measure one setting, ENV:WORKERSxENVS, bare and training in turn; return the medians."""
    env_name, _, size = setting.rpartition(":")
    workers, envs = map(int, size.split("x"))
    pairs: list[dict[str, float]] = []
    for _ in range(rounds):
        bare = measure_bare(env_name, seconds)
        training = measure_training(env_name, workers, envs, seconds, extra)
        steps = training["steps_per_second"]
        pairs.append({"bare_steps_per_second": bare, **training, "ratio": steps / bare})
        if beside_sb3:
            sb3 = measure_sb3(env_name, beside_sb3, seconds)
            pairs[-1] |= {"sb3_steps_per_second": sb3, "times_sb3": steps / sb3}
    medians = {name: round(statistics.median(pair[name] for pair in pairs), 3) for name in pairs[0]}
    return {"setting": setting, **medians, "ratios": [round(pair["ratio"], 3) for pair in pairs]}


def parse() -> tuple[argparse.Namespace, list[str]]:
    """Return the command line's options, and the flags that go on to main.py."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--setting", action="append", required=True, help="ENV:WORKERSxENVS, repeatable")
    add("--rounds", type=int, default=3)
    add("--seconds", type=float, default=15.0, help="of each measurement")
    add(
        "--beside-sb3",
        choices=("ppo", "a2c"),
        help="also measure Stable-Baselines3's algorithm, if it is installed",
    )
    return parser.parse_known_args()


def main() -> None:
    """Measure and print one JSON object."""
    limit_threads()
    options, extra = parse()
    results = [
        measure(
            setting,
            rounds=options.rounds,
            seconds=options.seconds,
            beside_sb3=options.beside_sb3,
            extra=extra,
        )
        for setting in options.setting
    ]
    found = {"commit": git_commit(), "machine": machine(), "extra_flags": extra}
    print(json.dumps({**found, "results": results}, indent=2))


if __name__ == "__main__":
    main()
