"""What tests of workers are made of: tasks of a tiny run, and workers that live in threads."""

import dataclasses
import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path

import torch

from envs.normaliser import SharedNormaliser
from shared_optim.memory import SharedTensor
from workers.memory import BarrierMemory, SharedMemory
from workers.progress import ProgressTable
from workers.settings.config import Config
from workers.settings.exchanges import build_kfac_memory, optimizer_statistics_size
from workers.settings.flags import parse
from workers.settings.models import Spaces, build_model
from workers.trainer import Trainer
from workers.worker import Task, build_trainer

CONTEXT = multiprocessing.get_context("spawn")
SPACES = Spaces(observation_shape=(3,), observation="vector", num_actions=3)


def bandit_task(folder: Path, *words: str) -> Task:
    """Return the task of worker 1 of 2 that play envs.toys:Bandit-v0 for 60 steps."""
    own = ["--env-name", "envs.toys:Bandit-v0", "--num-processes", "2", "--num-env-steps", "60"]
    line = parse([*own, *words])
    return Task(
        config=line.config,
        environment=line.environment,
        spaces=SPACES,
        memory=shared_memory(line.config, SPACES),
        worker=1,
        stream=(0, 0),
        log_path=str(folder / "log.txt"),
    )


def shared_memory(config: Config, spaces: Spaces, *, num_workers: int = 2) -> SharedMemory:
    """Return the memory of a run, with random parameters."""
    model = build_model(config, spaces)
    P = sum(parameter.numel() for parameter in model.parameters())
    kfac = build_kfac_memory(config, model, context=CONTEXT)
    barrier = None
    if config.exchange == "barrier":
        barrier = BarrierMemory.create(num_workers, P, context=CONTEXT)
    memory = SharedMemory(
        parameters=SharedTensor(P, dtype=torch.float32, context=CONTEXT),
        statistics=SharedTensor(
            optimizer_statistics_size(config, P, kfac), dtype=torch.float32, context=CONTEXT
        ),
        normaliser=SharedTensor(
            num_workers,
            SharedNormaliser.row_size(spaces.num_statistics),
            dtype=torch.float64,
            context=CONTEXT,
        ),
        returns=SharedTensor(
            num_workers, SharedNormaliser.row_size(1), dtype=torch.float64, context=CONTEXT
        ),
        progress=ProgressTable(num_workers, context=CONTEXT),
        barrier=barrier,
        kfac=kfac,
    )
    memory.parameters.tensor.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
    return memory


def make_trainer(task: Task) -> Trainer:
    """Build a trainer whose reports nobody reads."""
    return build_trainer(task, send=lambda report: None)


def together(task: Task, life: Callable[[Trainer], object], *, num_workers: int = 2) -> None:
    """Let all workers of a task's run live in threads, and wait for their ends."""
    problems = []

    def live(worker: int) -> None:
        try:
            life(make_trainer(dataclasses.replace(task, worker=worker)))
        except BaseException as problem:
            problems.append(problem)

    threads = [
        threading.Thread(target=live, args=(worker,), daemon=True) for worker in range(num_workers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not problems, problems
        assert not thread.is_alive(), "a worker still waits for another one"
