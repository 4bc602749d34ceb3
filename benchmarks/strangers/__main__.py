"""Train on environments of strangers, and count those that neither train right nor are refused.

    python -m benchmarks.strangers --family gymnasium --seconds 60
    python -m benchmarks.strangers --family ale --seconds 60
    python -m benchmarks.strangers --family random --count 1000 --seed 0
    python -m benchmarks.strangers --one "Stranger(reward='None')"    # or an id: one trial, in full

A trial takes main.py's way with one worker in one process. It compares what was counted and learned
from with what a witness inside the environment saw. The exit code is 1 if a trial failed.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections import Counter
from functools import partial

import torch

from benchmarks.strangers.runner import Trial, run_trials
from workers.process import limit_threads

FAMILIES = ("gymnasium", "ale", "random")


def main() -> int:
    """Run the trials; return the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.strangers", description=__doc__)
    parser.add_argument("--family", choices=FAMILIES, help="where the environments are from")
    parser.add_argument("--count", type=int, default=1000, help="environments at most")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start none after")
    parser.add_argument("--seed", type=int, default=0, help="draws and orders the environments")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trials at a time")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds that a trial has")
    parser.add_argument("--one", help="a recipe, or an id")
    parser.add_argument("--verbose", action="store_true", help="print every trial")
    options = parser.parse_args()
    limit_threads()
    torch.set_num_threads(1)  # a forked process could not use the threads of its parent
    if options.one:
        outcome = trial(options.one).run()
        print(f"{outcome.kind}: {outcome.text}\n{outcome.details}")
        return int(outcome.kind == "FAILED")
    if not options.family:
        parser.error("give --family or --one")
    names = sample(options.family, options.count, options.seed)
    counts: Counter[str] = Counter()
    ended = run_trials(
        [trial(name) for name in names],
        jobs=options.jobs,
        patience=options.patience,
        seconds=options.seconds,
    )
    for one, outcome in ended:
        counts[outcome.kind] += 1
        if outcome.kind == "FAILED" or options.verbose:
            said = " ".join(outcome.text.split())[:300]
            print(f"{outcome.kind}  {one.name}: {said}", flush=True)
    print(f"{options.family}, seed {options.seed}: {sum(counts.values())} of {len(names)} tried")
    for kind, count in counts.most_common():
        print(f"{count:6}  {kind}")
    return int(counts["FAILED"] > 0)


def trial(name: str) -> Trial:
    """Return the trial of a recipe or of an id."""
    import gymnasium

    from benchmarks.strangers.environment import ID
    from benchmarks.strangers.trial import attempt
    from benchmarks.strangers.witness import watched
    from envs.ids import resolve

    if name.startswith("Stranger("):
        return Trial(name, partial(attempt, ID, "--env-kwargs", f"recipe={name!r}"))

    def run() -> object:
        used = resolve(name).id
        gymnasium.registry[used] = watched(gymnasium.registry[used])
        return attempt(name)

    return Trial(name, run)  # type: ignore[arg-type]


def sample(family: str, count: int, seed: int) -> list[str]:
    """Return ids of a registry, or recipes, in random order."""
    if family == "random":
        return recipes(count, seed)
    from envs.ids import family_of, load_registry

    registry = load_registry()
    ids = [
        id_
        for id_, spec in registry.items()
        if (family_of(spec) == "atari") == (family == "ale") and id_ != "Stranger-v0"
    ]
    return random.Random(seed).sample(ids, min(count, len(ids)))


def recipes(count: int, seed: int) -> list[str]:
    """Draw recipes with hypothesis."""
    try:
        import hypothesis
    except ImportError:
        sys.exit("benchmarks.strangers: --family random needs hypothesis: pip install hypothesis")
    from benchmarks.strangers.strategies import strangers

    drawn: dict[str, None] = {}

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=2 * count,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strangers())
    def draw(stranger: object) -> None:
        if len(drawn) < count:
            drawn[text(stranger)] = None

    draw()
    return list(drawn)


def text(stranger: object) -> str:
    """Return a recipe without the fields that have their defaults."""
    import dataclasses

    fields = dataclasses.fields(stranger)  # type: ignore[arg-type]
    given = [
        f"{field.name}={getattr(stranger, field.name)!r}"
        for field in fields
        if getattr(stranger, field.name) != field.default
    ]
    return f"Stranger({', '.join(given)})"


if __name__ == "__main__":
    sys.exit(main())
