"""Whether every environment of gymnasium's goes on exactly where it was saved.

    python -m benchmarks.resume                 # gymnasium's own registry
    python -m benchmarks.resume ALE/Pong-v5     # these only
    python -m benchmarks.resume --runs          # whole runs, stopped and resumed, as well

An environment takes random actions, is saved, and goes on; a new one with another seed takes its
state and goes on with the same actions. Observations, rewards and ends must be the same bit for
bit. The last column counts the checkpoint's bytes. The exit code is 1 if one is wrong.
"""

import argparse
import io
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch

from benchmarks.throughput import ROOT
from envs.ids import EnvironmentProblem, resolve
from envs.make import make
from envs.state import DoesNotFit, Unsaveable, constants_of, load_states, save_states
from workers.process import limit_threads
from workers.records import checkpoint

RUNS = (("Acrobot-v1", "ppo"), ("Acrobot-v1", "a2c"), ("Taxi-v4", "ppo"), ("Hopper-v5", "a2c"))


class Result(NamedTuple):
    """What came of one environment."""

    outcome: str  # exact, wrong, refused, or not made
    detail: str


def own_ids() -> list[str]:
    """Return the ids of gymnasium's own registry."""
    return [
        id_
        for id_, spec in gym.registry.items()
        if str(spec.entry_point).startswith("gymnasium.") and not id_.startswith("GymV")
    ]


def build(id_: str, seed: int) -> gym.Env[Any, Any]:
    """Make an environment as training does, or as gymnasium does where training refuses it."""
    with suppress(EnvironmentProblem):
        return make(resolve(id_), training=True, max_episode_length=150, seed=seed)
    return gym.make(id_, max_episode_steps=150)


def bits(env: gym.Env[Any, Any], actions: list[Any]) -> Iterator[Any]:
    """Take actions; yield all that comes back, as bits."""
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        yield _bits(observation), _bits(reward), _bits(terminated), _bits(truncated)
        if terminated or truncated:
            yield _bits(env.reset()[0])


def check(id_: str, num_steps: int) -> Result:
    """Save after `num_steps` steps, and compare the next `num_steps`."""
    try:
        first, second = build(id_, 1), build(id_, 2)
    except Exception as problem:
        return Result("not made", " ".join(str(problem).split())[:80])
    first.action_space.seed(3)
    before, during, after = (
        [first.action_space.sample() for _ in range(number)]
        for number in (num_steps, num_steps // 7, num_steps)
    )
    constants = constants_of([first])
    first.reset(seed=1)
    second.reset(seed=2)
    list(bits(first, before))
    list(bits(second, during))
    started = time.perf_counter()
    try:
        state = save_states([first], constants)
        saved = time.perf_counter()
        packed = io.BytesIO()
        torch.save(state, packed)
        packed.seek(0)
        load_states([second], torch.load(packed, weights_only=True))
    except (Unsaveable, DoesNotFit) as problem:
        return Result("refused", str(problem))
    loaded = time.perf_counter()
    steps = zip(bits(first, after), bits(second, after), strict=True)
    for number, (mine, theirs) in enumerate(steps):
        if mine != theirs:
            return Result("wrong", f"from step {number} on")
    size = len(packed.getvalue()) / 1024
    times = f"save {1e3 * (saved - started):.1f} ms, load {1e3 * (loaded - saved):.1f} ms"
    return Result("exact", f"{times}, {size:.0f} KB")


def check_run(id_: str, algo: str, folder: Path) -> Result:
    """Compare a run that is stopped and resumed with one that is not."""
    base = ["--env-name", id_, "--algo", algo, "--num-processes", "2", "--num-env-steps", "40000"]
    quiet = ["--eval-interval", "0", "--video-interval", "0", "--eval-episodes", "1"]
    whole, stopped = folder / f"{id_}_{algo}_whole", folder / f"{id_}_{algo}_stopped"
    _main([*base, *quiet, "--run-dir", str(whole)]).wait()
    process = _main([*base, *quiet, "--run-dir", str(stopped), "--checkpoint-interval", "1"])
    while process.poll() is None and not [*(stopped / "checkpoints").glob("*.pt")]:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.wait()
    _main(["--resume", str(stopped)]).wait()
    one, other = (checkpoint.latest(path / "checkpoints")[1] for path in (whole, stopped))
    same = all(torch.equal(one[name], other[name]) for name in ("parameters", "statistics"))
    return Result("exact" if same else "wrong", f"{one['steps']:,} steps of {algo}, resumed once")


def _main(arguments: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(ROOT / "main.py"), *arguments, "--save-dir", ""]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=tempfile.gettempdir(), stdout=quiet, stderr=quiet)


def _bits(value: Any) -> Any:
    """Return the type and the bits of an observation, a reward or a flag."""
    if isinstance(value, dict):
        return [(key, _bits(item)) for key, item in value.items()]
    if isinstance(value, tuple):
        return [_bits(item) for item in value]
    array = np.asarray(value)
    return type(value).__name__, array.dtype.str, array.shape, array.tobytes()


def main() -> int:
    """Check, print a table, and return 1 if anything is wrong."""
    limit_threads()
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ids", nargs="*", help="environments; by default gymnasium's own")
    parser.add_argument("--steps", type=int, default=400, help="before and after (default 400)")
    parser.add_argument("--runs", action="store_true", help="stop and resume whole runs as well")
    options = parser.parse_args()
    counts: dict[str, int] = {}

    def show(name: str, result: Result) -> None:
        counts[result.outcome] = counts.get(result.outcome, 0) + 1
        print(f"{name:32} {result.outcome:9} {result.detail}", flush=True)

    for id_ in options.ids or own_ids():
        show(id_, check(id_, options.steps))
    if options.runs:
        with tempfile.TemporaryDirectory() as folder:
            for id_, algo in RUNS:
                show(f"{id_}, {algo}", check_run(id_, algo, Path(folder)))
    print(", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items())))
    return 1 if counts.get("wrong") else 0


if __name__ == "__main__":
    sys.exit(main())
