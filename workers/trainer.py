"""A training worker: its whole life is `Trainer.run`."""

import math
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np
import torch
from torch import Tensor

from envs.batch import EnvironmentBatch
from envs.ids import ResolvedId
from envs.make import make
from envs.normaliser import RewardScale, SharedNormaliser
from shared_optim.flat import FlatParameters, clip_norm_
from shared_optim.memory import SharedTensor
from workers.actor import Actor
from workers.config import Config
from workers.process import keep_freed_memory, lengthen_time_slice, prepare_child
from workers.progress import ProgressTable, WorkerRow
from workers.recipes import Spaces, build_algorithm, build_exchange, build_model
from workers.snapshot import set_scaling

MAX_BAD_GRADIENTS = 10  # in a row, until the worker gives up and is replaced with fresh environments


@dataclass(frozen=True, kw_only=True)
class SharedMemory:
    """All that the processes of a run share."""

    parameters: SharedTensor  # [P] float32
    statistics: SharedTensor  # the optimizer's, float32
    normaliser: SharedTensor  # [N, 1 + 2K] float64, of observations
    returns: SharedTensor  # [N, 3] float64, the same of discounted sums of rewards
    progress: ProgressTable


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a child process is given."""

    config: Config
    environment: ResolvedId
    spaces: Spaces
    memory: SharedMemory
    worker: int
    stream: tuple[int, ...]  # with the seed and the worker's number, this names its random numbers
    log_path: str


def run_worker(task: Task, pipe: Connection) -> None:
    """Entry of a worker process; on an error the traceback goes through the pipe and the exit code is 1."""
    with open(task.log_path, "a") as log:
        keep_freed_memory()
        prepare_child(f"a3c worker {task.worker}", log)
        lengthen_time_slice()
        try:
            Trainer(task).run()
        except BaseException:
            pipe.send(traceback.format_exc())
            raise SystemExit(1) from None


class Trainer:
    """Acts on a local copy of the parameters, pushes gradients to the shared ones, and waits for nobody."""

    def __init__(self, task: Task) -> None:
        config, memory = task.config, task.memory
        seeds = np.random.SeedSequence(config.seed, spawn_key=(task.worker, *task.stream))
        torch_seed, *env_seeds = seeds.generate_state(1 + config.envs_per_process).tolist()
        step_sizes = config.distributed_step_size or (config.num_steps,)

        self._config, self._worker = config, task.worker
        self._progress, self._row = memory.progress, WorkerRow(memory.progress, task.worker)
        self._normaliser = SharedNormaliser(memory.normaliser.tensor.numpy()) if task.spaces.normalised else None
        self._reward_scale = RewardScale(
            SharedNormaliser(memory.returns.tensor.numpy()), row=task.worker, size=config.envs_per_process, gamma=config.gamma
        )
        self._model = build_model(config, task.spaces)
        self._parameters = FlatParameters(self._model)
        self._algorithm = build_algorithm(config)
        self._exchange = build_exchange(config, parameters=memory.parameters.tensor, statistics=memory.statistics.tensor)
        environments = [
            make(task.environment, training=True, max_episode_length=config.max_episode_length, seed=seed) for seed in env_seeds
        ]
        batch = EnvironmentBatch(environments, seeds=env_seeds)
        self._actor = Actor(
            model=self._model,
            environments=batch,
            num_steps=step_sizes[task.worker % len(step_sizes)],
            generator=torch.Generator().manual_seed(torch_seed),
            row=self._row,
        )
        self._bad_gradients, self._pull_seconds = 0, 0.0
        self._rescale(torch.from_numpy(batch.observations[None]))

    def run(self) -> None:
        """Pull; until finished: play a segment, and for each of its losses differentiate, push, pull."""
        self._pull()
        while not self._finished():
            segment = self._actor.play()
            if self._config.scale_rewards:
                self._reward_scale.apply(segment.rewards.numpy(), ended=(segment.terminated | segment.truncated).numpy())
            for loss, statistics in self._algorithm.losses(self._model, segment):
                self._push(self._parameters.gradient(loss), statistics)
                self._pull()
            self._rescale(segment.observations)
            self._row.add("segments", 1)

    def _finished(self) -> bool:
        return self._progress.stopping or self._progress.total("steps") >= self._config.num_env_steps

    def _pull(self) -> None:
        self._updates_at_pull = self._progress.total("updates")
        began = time.perf_counter()
        self._exchange.pull(self._parameters.vector)
        self._pull_seconds = time.perf_counter() - began

    def _push(self, gradient: Tensor, statistics: dict[str, Tensor]) -> None:
        norm = clip_norm_(gradient, self._config.max_grad_norm)
        if not math.isfinite(norm):
            self._drop()
            return
        self._bad_gradients = 0
        policy_lag = self._progress.total("updates") - self._updates_at_pull
        learning_rate, began = self._learning_rate(), time.perf_counter()
        self._exchange.push(gradient, learning_rate=learning_rate)
        seconds = {"pull_seconds": self._pull_seconds, "push_seconds": time.perf_counter() - began}
        values = dict(zip(statistics, torch.stack([*statistics.values()]).tolist(), strict=True))
        self._row.update(values | seconds | {"grad_norm": norm, "learning_rate": learning_rate}, policy_lag=policy_lag)

    def _drop(self) -> None:
        self._row.add("dropped_gradients", 1)
        self._bad_gradients += 1
        if self._bad_gradients >= MAX_BAD_GRADIENTS:
            raise FloatingPointError(f"{MAX_BAD_GRADIENTS} gradients in a row were not finite")

    def _learning_rate(self) -> float:
        if not self._config.use_linear_lr_decay:
            return self._config.lr
        return self._config.lr * max(0.0, 1 - self._progress.total("steps") / self._config.num_env_steps)

    def _rescale(self, observations: Tensor) -> None:
        """Adds a segment's observations to the statistics, and takes over those of all workers for the next segment."""
        if self._normaliser is not None:
            self._normaliser.update(self._worker, observations.flatten(0, 1).numpy())
            set_scaling(self._model, self._normaliser)
