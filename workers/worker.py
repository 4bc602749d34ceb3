"""The process of a training worker: from its task to its trainer."""

import random
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

import numpy as np
import torch

from a3c.acktr import CRITIC
from envs.batch import EnvironmentBatch
from envs.ids import EnvironmentProblem, ResolvedId
from envs.make import make
from envs.normaliser import RewardScale, SharedNormaliser
from shared_optim.exchange import Exchange
from shared_optim.flat import FlatParameters
from workers.actor import Actor, segment_memory
from workers.entry import close_in_time
from workers.learner import Learner, LearningRate
from workers.memory import SharedMemory
from workers.messages import Message, Refused
from workers.preparation import Preparation, end_truncated, ignore_faulty, reward_scaler, weigher
from workers.process import keep_freed_memory, lengthen_time_slice, open_log, prepare_child
from workers.progress import WorkerRow
from workers.settings.config import Config
from workers.settings.exchanges import build_exchange
from workers.settings.models import Spaces, auxiliary_heads, build_model
from workers.settings.recipes import build_algorithm, build_gradient, build_network
from workers.trainer import Trainer

if TYPE_CHECKING:
    from a3c.fast.tracing import Program


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the process of a worker is given."""

    config: Config
    environment: ResolvedId
    spaces: Spaces
    memory: SharedMemory
    worker: int
    stream: tuple[int, ...]  # its random numbers follow from this, the seed and the worker
    log_path: str
    program: "Program | None" = None  # the traced gradient of the algorithm's loss
    state: bytes | None = None  # packed, where an exact resume goes on; see `workers/resume.py`


def run_worker(task: Task, pipe: Connection) -> None:
    """Train; after an error send the traceback through the pipe and exit with code 1."""
    with open_log(task.log_path) as log:
        keep_freed_memory()
        prepare_child(f"a3c worker {task.worker}", log)
        if task.config.exchange == "hogwild":
            # At a barrier the others would wait for a worker that computes for longer.
            lengthen_time_slice()
        trainer = None
        try:
            trainer = build_trainer(task, send=pipe.send)
            trainer.run()
            WorkerRow(task.memory.progress, task.worker).finish()
        except EnvironmentProblem as problem:
            pipe.send(Refused(str(problem)))
            raise SystemExit(1) from None
        except BaseException:
            pipe.send(traceback.format_exc())
            raise SystemExit(1) from None
        finally:
            if trainer is not None:
                close_in_time(trainer.actor.environments.close)


def build_trainer(task: Task, *, send: Callable[[Message], None]) -> Trainer:
    """Build all parts of a worker; `send` sends its reports to the main process."""
    config, memory = task.config, task.memory
    torch_seed, *env_seeds = _seeds(task)
    # Environments may draw from the last two.
    for seed_generator in (torch.manual_seed, np.random.seed, random.seed):
        seed_generator(torch_seed)
    model = build_model(config, task.spaces)
    parameters, exchange = FlatParameters(model), _exchange(task)
    environments = _environments(task, env_seeds)
    num_steps, weight = _share(task)
    segment = segment_memory(
        model, environments, num_steps, whole_episodes=config.whole_episodes, weight=weight
    )
    network = build_network(
        config,
        model,
        observations=segment.observations,
        next_observations=torch.from_numpy(environments.observations),
    )
    heads = tuple(auxiliary_heads(config, task.spaces))
    algorithm = build_algorithm(config, task.worker, auxiliary_heads=heads)
    reward_scale = _reward_scale(task)
    trainer = Trainer(
        worker=task.worker,
        model=model,
        actor=Actor(
            network=network,
            environments=environments,
            memory=segment,
            num_steps=num_steps,
            generator=torch.Generator().manual_seed(torch_seed),
            row=WorkerRow(memory.progress, task.worker),
        ),
        algorithm=algorithm,
        learner=Learner(
            parameters=parameters,
            gradient=build_gradient(
                config,
                algorithm,
                network,
                model=model,
                parameters=parameters,
                program=task.program,
                average=exchange.average,
            ),
            exchange=exchange,
            learning_rate=_learning_rate(config),
            progress=memory.progress,
            worker=task.worker,
        ),
        preparations=_preparations(config, exchange, reward_scale),
        reward_scale=reward_scale,
        normaliser=_normaliser(task),
        memory=memory,
        num_env_steps=config.num_env_steps,
        send=send,
    )
    if task.state is None:
        trainer.observe(torch.from_numpy(environments.observations[None]))
    else:
        trainer.load_state(task.state)
    return trainer


def _exchange(task: Task) -> Exchange:
    row = WorkerRow(task.memory.progress, task.worker)
    return build_exchange(
        task.config,
        task.memory,
        worker=task.worker,
        beat=lambda: row.beat(time.monotonic_ns()),
        inversion_failed=lambda: row.add("failed_inversions", 1),
    )


def _environments(task: Task, seeds: list[int]) -> EnvironmentBatch:
    length = task.config.max_episode_length
    environments = [
        make(task.environment, training=True, max_episode_length=length, seed=seed)
        for seed in seeds
    ]
    return EnvironmentBatch(environments, seeds=seeds)


def _reward_scale(task: Task) -> RewardScale:
    return RewardScale(
        SharedNormaliser(task.memory.returns.tensor.numpy()),
        row=task.worker,
        size=task.config.envs_per_process,
        gamma=task.config.gamma,
    )


def _seeds(task: Task) -> list[int]:
    config = task.config
    sequence = np.random.SeedSequence(config.seed, spawn_key=(task.worker, *task.stream))
    seeds: list[int] = sequence.generate_state(1 + config.envs_per_process).tolist()
    return seeds


def _share(task: Task) -> tuple[int, float]:
    """Return the steps of this worker's segments, and their weight.

    The weight is the number of steps, divided by the mean of all workers' numbers at a barrier.
    """
    config = task.config
    step_sizes = config.distributed_step_size or (config.num_steps,)
    num_steps = [step_sizes[w % len(step_sizes)] for w in range(config.num_processes)]
    own = num_steps[task.worker]
    if task.memory.barrier is None:  # a contribution acts alone
        return own, 1.0
    return own, own * len(num_steps) / sum(num_steps)


def _learning_rate(config: Config) -> LearningRate:
    return LearningRate(
        config.lr,
        of_groups={} if config.value_lr is None else {(CRITIC,): config.value_lr},
        falls_until=config.num_env_steps if config.use_linear_lr_decay else None,
    )


def _preparations(config: Config, exchange: Exchange, scale: RewardScale) -> list[Preparation]:
    return [
        *([weigher(exchange)] if config.whole_episodes else []),
        *([] if config.use_proper_time_limits else [end_truncated]),
        *([reward_scaler(scale, exchange)] if config.scale_rewards else []),
        ignore_faulty,  # the last, so that no made-up reward is in the statistics
    ]


def _normaliser(task: Task) -> SharedNormaliser | None:
    if not task.spaces.normalised:
        return None
    return SharedNormaliser(task.memory.normaliser.tensor.numpy())
