"""A training worker: its whole life is `Trainer.run`."""

import math
import random
import time
import traceback
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from torch import Tensor

from a3c.acktr import CRITIC, NaturalActorCritic
from a3c.algorithm import Batch
from a3c.segment import Segment
from a3c.tracing import Program, TracedGradient
from envs.batch import EnvironmentBatch
from envs.ids import ResolvedId
from envs.make import make
from envs.normaliser import RewardScale, SharedNormaliser
from envs.state import Unsaveable
from shared_optim.flat import FlatParameters
from shared_optim.optimizers import Samples
from workers.actor import Actor
from workers.exact import Report, SharedMemory, load_random_state, pack, random_state, unpack
from workers.process import keep_freed_memory, lengthen_time_slice, prepare_child
from workers.progress import WorkerRow
from workers.settings.config import Config
from workers.settings.recipes import Spaces, build_algorithm, build_exchange, build_model
from workers.snapshot import set_scaling

MAX_BAD_SEGMENTS = 10  # in a row, until the worker gives up and is replaced with fresh environments


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
    program: Program | None = (
        None  # the gradient of the algorithm's loss, where autograd would cost more than the network
    )
    state: bytes | None = None  # with which an exact resume goes on, see `workers.exact`


def run_worker(task: Task, pipe: Connection) -> None:
    """Entry of a worker process; on an error the traceback goes through the pipe and the exit code is 1."""
    with open(task.log_path, "a") as log:
        keep_freed_memory()
        prepare_child(f"a3c worker {task.worker}", log)
        if (
            task.config.exchange == "hogwild"
        ):  # at a barrier a worker that computes on keeps the others waiting
            lengthen_time_slice()
        try:
            Trainer(task, send=pipe.send).run()
        except BaseException:
            pipe.send(traceback.format_exc())
            raise SystemExit(1) from None


class Trainer:
    """Acts on a local copy of the parameters and pushes gradients to the shared ones; the exchange decides who waits for whom."""

    def __init__(self, task: Task, *, send: Callable[[Report], None]) -> None:
        """`send` takes what an exact resume needs to the main process."""
        config, memory = task.config, task.memory
        seeds = np.random.SeedSequence(config.seed, spawn_key=(task.worker, *task.stream))
        torch_seed, *env_seeds = seeds.generate_state(1 + config.envs_per_process).tolist()
        step_sizes = config.distributed_step_size or (config.num_steps,)
        num_steps = [step_sizes[worker % len(step_sizes)] for worker in range(config.num_processes)]

        self._config, self._worker, self._memory, self._send = config, task.worker, memory, send
        self._progress, self._row = memory.progress, WorkerRow(memory.progress, task.worker)
        for seed_generator in (
            torch.manual_seed,
            np.random.seed,
            random.seed,
        ):  # the latter two for environments that use them
            seed_generator(torch_seed)
        self._normaliser = (
            SharedNormaliser(memory.normaliser.tensor.numpy()) if task.spaces.normalised else None
        )
        self._reward_scale = RewardScale(
            SharedNormaliser(memory.returns.tensor.numpy()),
            row=task.worker,
            size=config.envs_per_process,
            gamma=config.gamma,
        )
        self._model = build_model(config, task.spaces)
        self._parameters = FlatParameters(self._model)
        self._algorithm = build_algorithm(config, task.worker)
        self._desired_kl = (
            config.desired_kl if isinstance(self._algorithm, NaturalActorCritic) else None
        )
        # What this worker's means count among those of all whose steps make one batch.
        self._weight = (
            1.0
            if memory.barrier is None
            else num_steps[task.worker] * len(num_steps) / sum(num_steps)
        )
        self._traced = None if task.program is None else TracedGradient(task.program, self._model)
        self._exchange = build_exchange(
            config,
            parameters=memory.parameters.tensor,
            statistics=memory.statistics.tensor,
            barrier=memory.barrier,
            kfac=memory.kfac,
            worker=task.worker,
            beat=self._beat,
            inversion_failed=lambda: self._row.add("failed_inversions", 1),
        )
        environments = [
            make(
                task.environment,
                training=True,
                max_episode_length=config.max_episode_length,
                seed=seed,
            )
            for seed in env_seeds
        ]
        batch = EnvironmentBatch(environments, seeds=env_seeds)
        self._actor = Actor(
            model=self._model,
            environments=batch,
            num_steps=num_steps[task.worker],
            generator=torch.Generator().manual_seed(torch_seed),
            row=self._row,
            whole_episodes=config.whole_episodes,
        )
        self._steps, self._reports_sent = (
            self._progress.total("steps"),
            self._progress.reports_wanted,
        )
        self._bad_segments, self._pull_seconds, self._divergence = 0, 0.0, 0.0
        if task.state is None:
            self._observe(torch.from_numpy(batch.observations[None]))
        else:
            self._load_state(unpack(task.state))

    def run(self) -> None:
        """Pull; until finished: play a segment, and for each of its batches differentiate the loss, push, pull."""
        self._pull()
        while not self._finished():
            segment = self._actor.play()
            if self._config.whole_episodes:
                self._weight = self._share(segment)
            if not self._config.use_proper_time_limits:
                segment.end_truncated_()
            if self._config.scale_rewards:
                self._scale_rewards(segment)
            all_finite = True
            for batch in self._algorithm.batches(segment, self._average):
                self._exchange.select(batch.groups)
                gradient, statistics, samples = self._differentiate(batch)
                if batch.weight != 1:
                    gradient.mul_(batch.weight)
                    statistics.update(
                        {name: batch.weight * value for name, value in statistics.items()}
                    )
                if self._algorithm.ends(statistics, self._average):
                    break
                critic_only = batch.groups == (CRITIC,)
                finite = self._push(gradient, statistics, samples, critic_only=critic_only)
                self._pull()
                if self._desired_kl is not None and not critic_only:
                    self._adapt_step_size(batch, moved=finite)
                all_finite &= finite
            self._judge(segment, all_finite)
            self._observe(segment.observations)
            self._row.add("segments", 1)
            self._exchange.begin_round()

    def _share(self, segment: Segment) -> float:
        """How many times the mean of all workers' steps this segment has."""
        num_steps = torch.tensor([len(segment.rewards)], dtype=torch.float64)
        return float(num_steps / self._exchange.average(num_steps))

    def _average(self, means: Tensor) -> Tensor:
        return self._exchange.average(means * self._weight)

    def _finished(self) -> bool:
        """Before each segment: where the run stands, and whether it is over; at a barrier all see the same."""
        exchange, progress = self._exchange, self._progress
        lost, to_report = exchange.lost, progress.reports_wanted > self._reports_sent
        seen = torch.tensor(
            [progress.total("steps"), progress.stopping, to_report], dtype=torch.float64
        )
        steps, stopping, somebody_to_report = exchange.average(seen).tolist()
        self._steps = int(steps)
        if self._normaliser is not None:
            set_scaling(self._model, self._normaliser)
        finished = not lost and bool(
            stopping > 0 or steps >= self._config.num_env_steps
        )  # a predecessor that went on knew why
        if not exchange.asynchronous:
            if not lost and (finished or somebody_to_report > 0):
                self._report()
            exchange.meet()  # until then nobody goes on and changes what worker 0 copies
        return finished

    def _report(self) -> None:
        self._reports_sent = self._progress.reports_wanted
        own, problem = None, ""
        try:
            own = pack(self._state())
        except Unsaveable as unsaveable:
            problem = str(unsaveable)
        shared = pack(self._memory.copy()) if self._worker == 0 else None
        self._send(Report(steps=self._steps, own=own, shared=shared, problem=problem))

    def _state(self) -> dict[str, Any]:
        return {
            "actor": self._actor.state(),
            "reward_scale": self._reward_scale.state(),
            "random": random_state(),
        }

    def _load_state(self, state: dict[str, Any]) -> None:
        self._actor.load_state(state["actor"])
        self._reward_scale.load_state(state["reward_scale"])
        load_random_state(state["random"])

    def _pull(self) -> None:
        self._updates_at_pull = self._progress.total("updates")
        began = time.perf_counter()
        self._exchange.pull(self._parameters.vector)
        self._pull_seconds = time.perf_counter() - began

    def _differentiate(self, batch: Batch) -> tuple[Tensor, dict[str, float], Samples]:
        if batch.weight == 0:
            return torch.zeros_like(self._parameters.vector), defaultdict(float), ()
        if self._traced is not None and self._traced.fits(batch):
            return *self._traced(batch), ()
        loss, statistics = self._algorithm.loss(self._model, batch)
        gradient = self._parameters.gradient(loss)
        samples: Samples = ()
        if isinstance(self._algorithm, NaturalActorCritic) and self._exchange.wants_samples:
            samples = self._algorithm.capture(self._model, batch.steps).samples
        return (
            gradient,
            dict(zip(statistics, torch.stack([*statistics.values()]).tolist(), strict=True)),
            samples,
        )

    def _adapt_step_size(self, batch: Batch, *, moved: bool) -> None:
        assert self._desired_kl is not None and isinstance(self._algorithm, NaturalActorCritic)
        divergence = self._algorithm.divergence(self._model, batch.steps)
        # Everybody comes to these meetings; one nan makes all see that nothing moved.
        mean = float(self._average(divergence if moved else divergence.fill_(math.nan)))
        self._exchange.adapt(mean, desired=self._desired_kl)
        if math.isfinite(mean):
            self._divergence = mean

    def _push(
        self,
        gradient: Tensor,
        statistics: dict[str, float],
        samples: Samples = (),
        *,
        critic_only: bool = False,
    ) -> bool:
        """Whether what was applied is finite; if not, it was not applied."""
        self._beat()
        asynchronous = self._exchange.asynchronous
        policy_lag = self._progress.total("updates") - self._updates_at_pull if asynchronous else 0
        learning_rate, began = self._learning_rate(critic_only=critic_only), time.perf_counter()
        max_norm = self._config.max_grad_norm
        if self._weight != 1 and (
            self._config.loss_reduction == "mean" or self._config.algo == "ppo"
        ):
            gradient.mul_(self._weight)
        norm = self._exchange.push(
            gradient, learning_rate=learning_rate, max_norm=max_norm, samples=samples
        )
        counts = int(asynchronous or self._worker == 0)
        if norm is None:  # counted by the predecessor
            return True
        if not math.isfinite(norm):
            self._row.add("dropped_gradients", counts)
            return False
        seconds = {"pull_seconds": self._pull_seconds, "push_seconds": time.perf_counter() - began}
        step_size = self._learning_rate() * self._exchange.step_size_factor
        values = statistics | seconds | {"grad_norm": norm, "learning_rate": step_size}
        if self._desired_kl is not None:
            values["approx_kl"] = self._divergence
        self._row.contribution(values, policy_lag=policy_lag, updates=counts)
        return True

    def _judge(self, segment: Segment, all_finite: bool) -> None:
        self._bad_segments = 0 if all_finite else self._bad_segments + 1
        # Whose own segment is sound waits for those to be replaced who spoil the mean of all.
        sound = self._bad_segments and bool(torch.isfinite(segment.rewards + segment.values).all())
        if self._bad_segments >= (2 if sound else 1) * MAX_BAD_SEGMENTS:
            raise FloatingPointError(
                f"gradients of {self._bad_segments} segments in a row were not finite"
            )

    def _learning_rate(self, *, critic_only: bool = False) -> float:
        config = self._config
        lr = config.value_lr if critic_only and config.value_lr is not None else config.lr
        return (
            lr * max(0.0, 1 - self._steps / config.num_env_steps)
            if config.use_linear_lr_decay
            else lr
        )

    def _scale_rewards(self, segment: Segment) -> None:
        self._reward_scale.update(
            segment.rewards.numpy(), ended=(segment.terminated | segment.truncated).numpy()
        )
        self._exchange.meet()
        self._reward_scale.apply(segment.rewards.numpy())

    def _observe(self, observations: Tensor) -> None:
        """Adds a segment's observations to the statistics of all workers, which scale the next segment's."""
        if self._normaliser is not None:
            self._normaliser.update(self._worker, observations.flatten(0, 1).numpy())

    def _beat(self) -> None:
        self._row.beat(time.monotonic_ns())
