"""Flags that do not go together. Each check raises UsageError with the fix in it."""

import importlib.util
from collections.abc import Mapping
from typing import Any

from workers.settings.config import Config
from workers.settings.errors import UsageError


def check_optimizer(config: Config, *, of_recipe: str) -> None:
    """Refuse K-FAC without an algorithm that samples the curvature, and the other way round."""
    if (of_recipe == "kfac") != (config.optimizer == "kfac"):
        raise UsageError(
            f"--algo {config.algo} does not go with --optimizer {config.optimizer}: "
            "acktr's is kfac, and kfac is acktr's"
        )


def check_exchange(config: Config, *, exchanges: tuple[str, ...]) -> None:
    """Refuse an exchange that the algorithm does not go with."""
    if config.exchange not in exchanges:
        raise UsageError(
            f"--algo {config.algo} goes with --exchange {' or '.join(exchanges)} only; "
            f"leave --exchange {config.exchange} out"
        )


def check_fast(config: Config) -> None:
    """Refuse to train fast where the folder that does so is missing."""
    if config.fast and importlib.util.find_spec("a3c.fast") is None:
        raise UsageError("the folder a3c/fast/ is missing; put it back, or train with --no-fast")


def check_whole_episodes(config: Config) -> None:
    """Refuse whole episodes of several environments, because these do not end together."""
    if config.whole_episodes and config.envs_per_process > 1:
        raise UsageError(
            "--whole-episodes needs --envs-per-process 1: "
            "episodes of several environments do not end together"
        )


def check_ppo(config: Config, typed: Mapping[str, Any]) -> None:
    """Refuse more minibatches than pieces: steps, or sequences of a recurrent network."""
    recurrent = config.recurrent != "none"
    shortest = min(config.distributed_step_size or (config.num_steps,))
    pieces = config.envs_per_process * (1 if recurrent else shortest)
    # Sequences of equal length are dealt to the workers, so a pass is over all workers' sequences.
    equal = not config.distributed_step_size and not config.whole_episodes
    dealt = recurrent and config.exchange == "barrier" and equal
    most = pieces * (config.num_processes if dealt else 1)
    if config.num_mini_batch > most:
        what = "sequences, one an environment" if recurrent else "steps"
        whose = "all workers' segments have" if dealt else "a worker's segment has"
        raise UsageError(
            f"--num-mini-batch {config.num_mini_batch} is more than the {most} {what}, that "
            f"{whose}; use at most {most}, or more "
            f"{'--envs-per-process' if recurrent else '--num-steps'}"
        )


def check_acktr(config: Config, typed: Mapping[str, Any]) -> None:
    """Refuse what the samples of the curvature do not allow, and flags without effect."""
    if config.whole_episodes and config.recurrent != "none":
        raise UsageError(
            f"--whole-episodes is not for --algo {config.algo} with a recurrent network; "
            "use --no-whole-episodes"
        )
    if not config.value_updates:
        _check_flags_of_the_critic(config, typed)
    if config.network == "impala" or config.auxiliary_heads:
        which = "--network impala" if config.network == "impala" else "--auxiliary-heads"
        raise UsageError(
            f"--algo {config.algo} must see all layers of a network, and does not see those of "
            f"{which}; leave that out"
        )
    if config.distributed_step_size:
        raise UsageError(
            f"--algo {config.algo} makes one step of all workers' batches, with as many samples "
            "of each; leave --distributed-step-size out"
        )


def _check_flags_of_the_critic(config: Config, typed: Mapping[str, Any]) -> None:
    needs = {"value_lr": "--value-updates"}
    if config.value_kl_clip is None:
        either = "--value-kl-clip or --value-updates"
        needs |= dict.fromkeys(("value_damping", "value_stat_decay", "value_cold_updates"), either)
    for name, needed in needs.items():
        if typed.get(name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} needs {needed}")
