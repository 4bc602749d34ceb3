import multiprocessing

import pytest
import torch

from shared_optim.memory import SharedTensor
from shared_optim.optimizers import SharedAdam, SharedRMSprop, statistics_size
from tests.shared_optim.teams import contribution

P = 100


@pytest.mark.parametrize("amsgrad", [False, True])
def test_shared_adam_equals_torch_adam_step_by_step(amsgrad):
    torch.manual_seed(0)
    mine = torch.randn(P)
    reference = torch.nn.Parameter(mine.clone())
    statistics = torch.zeros(statistics_size("adam", P, amsgrad=amsgrad))
    adam = SharedAdam(mine, statistics, betas=(0.8, 0.99), eps=1e-5, amsgrad=amsgrad)
    other = torch.optim.Adam(
        [reference], betas=(0.8, 0.99), eps=1e-5, amsgrad=amsgrad, foreach=False, fused=False
    )
    for k in range(20):
        gradient = torch.randn(P) * (1 + k % 3)
        other.param_groups[0]["lr"] = learning_rate = 0.01 / (k + 1)
        reference.grad = gradient.clone()
        other.step()
        adam.step(contribution(gradient, learning_rate=learning_rate))
        torch.testing.assert_close(mine, reference.data)


def test_two_adams_over_the_same_statistics_are_one():
    mine, statistics = torch.ones(P), torch.zeros(statistics_size("adam", P))
    pair = [SharedAdam(mine, statistics) for _ in range(2)]
    reference = torch.nn.Parameter(torch.ones(P))
    other = torch.optim.Adam([reference])
    for k in range(6):
        reference.grad = gradient = torch.full((P,), float(k + 1))
        other.step()
        pair[k % 2].step(contribution(gradient, learning_rate=1e-3))
    torch.testing.assert_close(mine, reference.data)
    assert statistics[-1] == 6


def test_shared_rmsprop_equals_torch_with_epsilon_outside_the_root():
    torch.manual_seed(0)
    mine = torch.randn(P)
    reference = torch.nn.Parameter(mine.clone())
    rmsprop = SharedRMSprop(mine, torch.zeros(P), alpha=0.9, eps=1e-3)
    other = torch.optim.RMSprop([reference], lr=0.01, alpha=0.9, eps=1e-3)
    for _ in range(20):
        reference.grad = gradient = torch.randn(P)
        other.step()
        rmsprop.step(contribution(gradient, learning_rate=0.01))
        torch.testing.assert_close(mine, reference.data)


def test_epsilon_inside_the_root_by_hand():
    mine, statistics = torch.zeros(1), torch.zeros(1)
    rmsprop = SharedRMSprop(mine, statistics, alpha=0.75, eps=3.0, eps_inside_root=True)
    rmsprop.step(contribution(torch.tensor([2.0]), learning_rate=1.0))
    assert statistics.item() == 1.0
    assert mine.item() == -2.0 / (1.0 + 3.0) ** 0.5


def add_ones(memory: SharedTensor, times: int) -> None:
    for _ in range(times):
        memory.tensor.add_(torch.ones(memory.tensor.numel()))


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_processes_move_the_same_memory(method):
    context = multiprocessing.get_context(method)
    memory = SharedTensor(1000, dtype=torch.float32, context=context)
    child = context.Process(target=add_ones, args=(memory, 5))
    child.start()
    child.join()
    assert child.exitcode == 0
    add_ones(memory, 2)
    assert memory.tensor.eq(7).all()


def adam_steps(parameters: SharedTensor, statistics: SharedTensor, times: int) -> None:
    adam = SharedAdam(parameters.tensor, statistics.tensor)
    for _ in range(times):
        adam.step(contribution(torch.ones(P), learning_rate=1e-3))


def test_processes_move_the_same_statistics():
    context = multiprocessing.get_context("spawn")
    memory = [
        SharedTensor(size, dtype=torch.float32, context=context)
        for size in (P, statistics_size("adam", P))
    ]
    child = context.Process(target=adam_steps, args=(*memory, 5))
    child.start()
    child.join()
    assert child.exitcode == 0
    adam_steps(*memory, 2)
    alone = [torch.zeros(P), torch.zeros(statistics_size("adam", P))]
    adam = SharedAdam(*alone)
    for _ in range(7):
        adam.step(contribution(torch.ones(P), learning_rate=1e-3))
    assert torch.equal(memory[0].tensor, alone[0]) and torch.equal(memory[1].tensor, alone[1])
