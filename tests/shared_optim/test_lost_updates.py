"""Two processes push through each optimizer to the same memory, and hardly lose anything.

Optimizers are set such that a gradient of 1 is a step of exactly 1, and one of 0 a step of 0.
"""

import math
import multiprocessing
from typing import Any

import pytest
import torch

from shared_optim.exchange import Hogwild
from shared_optim.memory import SharedTensor
from shared_optim.optimizers import SharedAdam, SharedOptimizer, SharedRMSprop, statistics_size
from tests.shared_optim.teams import contribution

P = 10_000
PROCESSES = 2
PUSHES = 1_000
OPTIMIZERS = ("adam", "amsgrad", "rmsprop", "rmsprop with epsilon inside the root")
SLICES = ("the whole vector", "disjoint slices")
# Up to 1.2 % were lost by processes that did nothing but push. Writing back a copy of the whole
# vector, as a push that is not made in place does, loses about half.
MOST_LOST = 0.1


def statistics(name: str, context: Any) -> SharedTensor:
    """Return the memory of an optimizer's statistics; RMSprop's running mean is 1."""
    if name.startswith("rmsprop"):
        memory = SharedTensor(P, dtype=torch.float32, context=context)
        memory.tensor.fill_(1.0)
        return memory
    size = statistics_size("adam", P, amsgrad=name == "amsgrad")
    return SharedTensor(size, dtype=torch.float32, context=context)


def build(
    name: str, parameters: torch.Tensor, memory: torch.Tensor
) -> tuple[SharedOptimizer, float]:
    """Return an optimizer, and the learning rate with which its steps are -1."""
    if name.startswith("rmsprop"):
        inside = name != "rmsprop"
        # s stays 1: s = 1 s + 0 g².
        rmsprop = SharedRMSprop(parameters, memory, alpha=1.0, eps=0.0, eps_inside_root=inside)
        return rmsprop, 1.0
    # m = g and v = g², so a step is lr g / (|g| + 1).
    adam = SharedAdam(parameters, memory, betas=(0.0, 0.0), eps=1.0, amsgrad=name == "amsgrad")
    return adam, 2.0


def push(
    worker: int, memory: dict[tuple[str, str], tuple[SharedTensor, SharedTensor]], start: Any
) -> None:
    """Push through each optimizer in turn, each time together with the other process."""
    torch.set_num_threads(1)
    for (name, slices), (parameters, statistics) in memory.items():
        optimizer, learning_rate = build(name, parameters.tensor, statistics.tensor)
        exchange = Hogwild(parameters=parameters.tensor, optimizer=optimizer, max_norm=math.inf)
        gradient = torch.ones(P)
        if slices == "disjoint slices":
            gradient.zero_()
            gradient[worker * P // PROCESSES : (worker + 1) * P // PROCESSES] = 1.0
        start.wait(60)
        for _ in range(PUSHES):
            exchange.push(contribution(gradient, learning_rate=learning_rate))


@pytest.fixture(scope="module")
def moved() -> dict[tuple[str, str], torch.Tensor]:
    """What all pushes together have subtracted, by optimizer and slices."""
    context = multiprocessing.get_context("spawn")
    memory = {
        (name, slices): (
            SharedTensor(P, dtype=torch.float32, context=context),
            statistics(name, context),
        )
        for name in OPTIMIZERS
        for slices in SLICES
    }
    start = context.Barrier(PROCESSES)
    processes = [
        context.Process(target=push, args=(worker, memory, start)) for worker in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return {case: -parameters.tensor for case, (parameters, _) in memory.items()}


@pytest.mark.parametrize("slices", SLICES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_value_is_torn_and_few_updates_are_lost(moved, name, slices):
    steps, expected = (
        moved[name, slices],
        PUSHES * (1 if slices == "disjoint slices" else PROCESSES),
    )
    assert torch.equal(steps, steps.round())
    assert steps.min() > 0
    assert steps.max() <= expected
    assert steps.double().mean() >= (1 - MOST_LOST) * expected
