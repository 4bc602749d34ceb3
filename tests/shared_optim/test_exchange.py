"""Contributions that act together: against one big batch, under delays, deaths and replacements."""

import multiprocessing
import threading
import time

import pytest
import torch

from shared_optim.exchange import Barrier, BarrierMemory
from shared_optim.optimizers import SharedAdam, SharedOptimizer, SharedRMSprop, statistics_size

P = 37


class Team:
    """W workers at one barrier, each a thread; what processes do to memory threads do, too."""

    def __init__(self, num_workers: int, *, optimizer=None) -> None:
        context = multiprocessing.get_context("spawn")
        self.memory = BarrierMemory.create(num_workers, P, context=context)
        self.parameters = torch.zeros(P)
        self.optimizer = optimizer or SharedRMSprop(self.parameters, torch.zeros(P))
        self.beats = [0] * num_workers

    def worker(self, number: int, *, patient: bool = True) -> Barrier:
        def beat() -> None:
            self.beats[number] += 1

        return Barrier(
            memory=self.memory,
            worker=number,
            parameters=self.parameters,
            optimizer=self.optimizer,
            beat=beat,
            patient=patient,
        )

    def run(self, *lives, timeout: float = 20.0) -> None:
        threads = [threading.Thread(target=life, daemon=True) for life in lives]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + timeout
        for thread in threads:
            thread.join(deadline - time.monotonic())
            assert not thread.is_alive(), "somebody waits for ever"


@pytest.mark.parametrize("num_workers", [1, 2, 5])
@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_workers_at_the_barrier_equal_one_big_batch_under_torch_optim(num_workers, name):
    torch.manual_seed(0)
    inputs, targets = torch.randn(8, num_workers * 6, P), torch.randn(8, num_workers * 6)
    team = Team(num_workers)
    if name == "adam":
        team.optimizer = SharedAdam(
            team.parameters, torch.zeros(statistics_size("adam", P)), eps=1e-5
        )
    reference = torch.nn.Parameter(torch.zeros(P))
    other = (
        torch.optim.Adam([reference], lr=0.05, eps=1e-5)
        if name == "adam"
        else torch.optim.RMSprop([reference], lr=0.05, alpha=0.99, eps=1e-5)
    )
    norms = []
    for x, y in zip(inputs, targets, strict=True):
        other.zero_grad()
        (x @ reference - y).square().mean().backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_([reference], 2.0)))
        other.step()
    seen = {}

    def life(number: int) -> None:
        exchange, local, mine = (
            team.worker(number),
            torch.zeros(P, requires_grad=True),
            slice(6 * number, 6 * number + 6),
        )
        seen[number] = []
        for x, y in zip(inputs, targets, strict=True):
            with torch.no_grad():
                exchange.pull(local)
            (gradient,) = torch.autograd.grad((x[mine] @ local - y[mine]).square().mean(), [local])
            seen[number].append(exchange.push(gradient, learning_rate=0.05, max_norm=2.0))

    team.run(*(lambda number=number: life(number) for number in range(num_workers)))
    torch.testing.assert_close(team.parameters, reference.detach(), rtol=1e-4, atol=1e-5)
    assert max(norms) > 2.0
    for number in range(num_workers):
        assert seen[number] == pytest.approx(norms, rel=1e-4)


def test_averages_are_the_same_bits_for_everybody_however_late_somebody_comes():
    team, values = Team(3), torch.randn(50, 3, 2, dtype=torch.float64)
    results = [[], [], []]

    def life(number: int) -> None:
        exchange = team.worker(number, patient=number == 0)
        for step, row in enumerate(values[:, number]):
            if (step + number) % 7 == 0:
                time.sleep(0.002)
            results[number].append(exchange.average(row))

    team.run(*(lambda number=number: life(number) for number in range(3)))
    for mine in results:
        torch.testing.assert_close(torch.stack(mine), values.mean(1))
        assert all(torch.equal(a, b) for a, b in zip(mine, results[0], strict=True))


def test_a_mean_that_is_not_finite_is_applied_by_nobody():
    team, norms = Team(2), {}

    def life(number: int) -> None:
        gradient = torch.full((P,), float("nan") if number else 1.0)
        norms[number] = team.worker(number).push(gradient, learning_rate=1.0, max_norm=1.0)

    team.run(lambda: life(0), lambda: life(1))
    assert norms[0] != norms[0] and norms[1] != norms[1]
    assert not team.parameters.any()


@pytest.mark.parametrize(
    ("num_stages", "meetings"), [(n, m) for n in (0, 2) for m in range(10 + 3 * n)]
)
def test_a_replacement_completes_the_segment_in_which_its_predecessor_died(num_stages, meetings):
    """A segment here is an average and three pushes of three meetings and the optimizer's; worker 1 dies before one of them."""
    team = Team(2)

    class Death(Exception):
        pass

    def segment(exchange: Barrier) -> float:
        mean = float(exchange.average(torch.tensor([float(exchange._worker)])))
        for _ in range(3):
            exchange.push(torch.ones(P), learning_rate=1.0, max_norm=1e9)
        exchange.begin_round()
        return mean

    def mortal() -> None:
        exchange = team.worker(1)
        segment(exchange)
        meet, left = exchange._meet, meetings

        def meet_or_die(contribute) -> None:
            nonlocal left
            if left == 0:
                raise Death
            left -= 1
            meet(contribute)

        exchange._meet = meet_or_die
        with pytest.raises(Death):
            segment(exchange)
        time.sleep(0.3)
        replacement = team.worker(1)
        assert replacement.lost == (meetings > 1)
        # What was said at the last meeting is still there, and the others act on it; of what came before, nobody does any more.
        assert [segment(replacement), segment(replacement)] == [0.5 if meetings <= 1 else 1.0, 0.5]

    class Counting(SharedOptimizer):
        steps = 0

        def step(self, gradient, *, learning_rate):
            Counting.steps += 1
            torch.testing.assert_close(gradient, torch.ones(P))

        def stages(self, gradient):
            return num_stages * [lambda: torch.testing.assert_close(gradient, torch.ones(P))]

    team.optimizer = Counting()

    def other() -> None:
        exchange = team.worker(0)
        assert [segment(exchange) for _ in range(3)] == [0.5, 0.5, 0.5]

    team.run(other, mortal)
    assert Counting.steps == 9
    assert team.beats[0] > 0  # while it waited
