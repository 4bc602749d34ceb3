import multiprocessing

import pytest
import torch

from shared_optim.exchange import Hogwild
from shared_optim.memory import SharedTensor
from shared_optim.optimizers import SharedAdam, SharedRMSprop, statistics_size

P = 100


class Sum:
    """An optimizer that shows what arrives: parameters += gradient."""

    def __init__(self, parameters: torch.Tensor) -> None:
        self.parameters = parameters

    def step(self, gradient: torch.Tensor, *, learning_rate: float) -> None:
        self.parameters.add_(gradient, alpha=learning_rate)


def test_contributions_1_2_3_4_arrive_as_1_2_3_4():
    shared, arrived = torch.zeros(1), []
    exchange = Hogwild(parameters=shared, optimizer=Sum(shared))
    weight = torch.ones(1, requires_grad=True)
    for contribution in (1.0, 2.0, 3.0, 4.0):
        before = shared.clone()
        (gradient,) = torch.autograd.grad((contribution * weight).sum(), [weight])
        exchange.push(gradient, learning_rate=1.0, max_norm=100.0)
        arrived.append((shared - before).item())
    assert arrived == [1.0, 2.0, 3.0, 4.0]


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
        adam.step(gradient, learning_rate=learning_rate)
        torch.testing.assert_close(mine, reference.data)


def test_two_adams_over_the_same_statistics_are_one():
    mine, statistics = torch.ones(P), torch.zeros(statistics_size("adam", P))
    pair = [SharedAdam(mine, statistics) for _ in range(2)]
    reference = torch.nn.Parameter(torch.ones(P))
    other = torch.optim.Adam([reference])
    for k in range(6):
        reference.grad = gradient = torch.full((P,), float(k + 1))
        other.step()
        pair[k % 2].step(gradient, learning_rate=1e-3)
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
        rmsprop.step(gradient, learning_rate=0.01)
        torch.testing.assert_close(mine, reference.data)


def test_epsilon_inside_the_root_by_hand():
    mine, statistics = torch.zeros(1), torch.zeros(1)
    SharedRMSprop(mine, statistics, alpha=0.75, eps=3.0, eps_inside_root=True).step(
        torch.tensor([2.0]), learning_rate=1.0
    )
    assert statistics.item() == 1.0
    assert mine.item() == -2.0 / (1.0 + 3.0) ** 0.5


def add_ones(memory: SharedTensor, times: int) -> None:
    optimizer = Sum(memory.tensor)
    for _ in range(times):
        optimizer.step(torch.ones(memory.tensor.numel()), learning_rate=1.0)


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
