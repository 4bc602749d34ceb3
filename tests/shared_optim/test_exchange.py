"""Contributions that act together: against one big batch, under delays, deaths, replacements."""

import time

import pytest
import torch

from shared_optim.contribution import Applied, Contribution
from shared_optim.exchange import Barrier, Exchange, Hogwild
from shared_optim.optimizers import SharedAdam, SharedOptimizer, SharedRMSprop, statistics_size
from shared_optim.rendezvous import Rendezvous
from tests.shared_optim.teams import Team, contribution, run

P = 37


class Sum(SharedOptimizer):
    """An optimizer that shows what arrives: parameters += learning rate * gradient."""

    def __init__(self, parameters: torch.Tensor) -> None:
        self.parameters, self.seen = parameters, []

    def step(self, contribution: Contribution) -> None:
        self.seen.append(contribution)
        self.parameters.add_(contribution.gradient, alpha=contribution.learning_rate)


def test_contributions_1_2_3_4_arrive_as_1_2_3_4():
    shared, arrived = torch.zeros(1), []
    exchange = Hogwild(parameters=shared, optimizer=Sum(shared), max_norm=100.0)
    weight = torch.ones(1, requires_grad=True)
    for number in (1.0, 2.0, 3.0, 4.0):
        before = shared.clone()
        (gradient,) = torch.autograd.grad((number * weight).sum(), [weight])
        exchange.push(contribution(gradient))
        arrived.append((shared - before).item())
    assert arrived == [1.0, 2.0, 3.0, 4.0]


def test_without_a_barrier_a_gradient_is_clipped_and_dropped_if_it_is_not_finite():
    shared, local = torch.zeros(2), torch.ones(2)
    exchange = Hogwild(parameters=shared, optimizer=Sum(shared), max_norm=1.0)
    assert exchange.push(contribution(torch.tensor([3.0, 4.0]))) == Applied(5.0, 1.0)
    torch.testing.assert_close(shared, torch.tensor([0.6, 0.8]))
    norm, _ = exchange.push(contribution(torch.tensor([1.0, torch.nan])))
    assert norm != norm
    exchange.pull(local)
    torch.testing.assert_close(local, torch.tensor([0.6, 0.8]))


def both() -> list[Exchange]:
    hogwild = Hogwild(parameters=torch.zeros(P), optimizer=Sum(torch.zeros(P)), max_norm=1.0)
    team = Team(1, P)
    return [hogwild, team.barrier(0, Sum(team.parameters))]


@pytest.mark.parametrize("number", [0, 1])
def test_a_worker_alone_averages_with_itself_and_meets_nobody(number):
    exchange = both()[number]
    assert exchange.asynchronous == (number == 0) and not exchange.lost
    values = torch.tensor([0.1, 0.2])
    found = exchange.average(values)
    assert found.dtype == torch.float64
    assert torch.equal(found, values.double())
    exchange.meet()
    exchange.begin_round()
    assert not exchange.lost


@pytest.mark.parametrize("number", [0, 1])
def test_the_optimizer_gets_all_that_a_worker_contributes(number):
    exchange = both()[number]
    given = contribution(
        torch.ones(P), learning_rate=0.5, groups=(1,), divergence=0.3, statistics={"loss": 2.0}
    )
    optimizer = Sum(torch.zeros(P))
    if number == 0:
        exchange = Hogwild(parameters=torch.zeros(P), optimizer=optimizer, max_norm=1e9)
    else:
        exchange = Team(1, P).barrier(0, optimizer)
    exchange.push(given)
    (seen,) = optimizer.seen
    assert torch.equal(seen.gradient, torch.ones(P))
    names = ("learning_rate", "groups", "divergence", "statistics", "samples")
    assert all(getattr(seen, name) == getattr(given, name) for name in names)


@pytest.mark.parametrize("num_workers", [1, 2, 5])
@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_workers_at_the_barrier_equal_one_big_batch_under_torch_optim(num_workers, name):
    torch.manual_seed(0)
    inputs, targets = torch.randn(8, num_workers * 6, P), torch.randn(8, num_workers * 6)
    team = Team(num_workers, P)
    reference = torch.nn.Parameter(torch.zeros(P))
    optimizer: SharedOptimizer
    if name == "adam":
        statistics = torch.zeros(statistics_size("adam", P))
        optimizer = SharedAdam(team.parameters, statistics, eps=1e-5)
        other = torch.optim.Adam([reference], lr=0.05, eps=1e-5)
    else:
        optimizer = SharedRMSprop(team.parameters, torch.zeros(P))
        other = torch.optim.RMSprop([reference], lr=0.05, alpha=0.99, eps=1e-5)
    norms = []
    for x, y in zip(inputs, targets, strict=True):
        other.zero_grad()
        (x @ reference - y).square().mean().backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_([reference], 2.0)))
        other.step()
    seen = {}

    def life(number: int) -> None:
        exchange = team.barrier(number, optimizer, max_norm=2.0)
        local, mine = torch.zeros(P, requires_grad=True), slice(6 * number, 6 * number + 6)
        seen[number] = []
        for x, y in zip(inputs, targets, strict=True):
            with torch.no_grad():
                exchange.pull(local)
            (gradient,) = torch.autograd.grad((x[mine] @ local - y[mine]).square().mean(), [local])
            applied = exchange.push(contribution(gradient, learning_rate=0.05))
            seen[number].append(applied.norm)

    run(*(lambda number=number: life(number) for number in range(num_workers)))
    torch.testing.assert_close(team.parameters, reference.detach(), rtol=1e-4, atol=1e-5)
    assert max(norms) > 2.0
    for number in range(num_workers):
        assert seen[number] == pytest.approx(norms, rel=1e-4)


def test_averages_are_the_same_bits_for_everybody_however_late_somebody_comes():
    team, values = Team(3, P), torch.randn(50, 3, 2, dtype=torch.float64)
    results = [[], [], []]

    def life(number: int) -> None:
        exchange = team.barrier(number, Sum(team.parameters), patient=number == 0)
        for step, row in enumerate(values[:, number]):
            if (step + number) % 7 == 0:
                time.sleep(0.002)
            results[number].append(exchange.average(row))

    run(*(lambda number=number: life(number) for number in range(3)))
    for mine in results:
        torch.testing.assert_close(torch.stack(mine), values.mean(1))
        assert all(torch.equal(a, b) for a, b in zip(mine, results[0], strict=True))


def test_a_mean_that_is_not_finite_is_applied_by_nobody():
    team, norms = Team(2, P), {}
    optimizer = SharedRMSprop(team.parameters, torch.zeros(P))

    def life(number: int) -> None:
        gradient = torch.full((P,), float("nan") if number else 1.0)
        norms[number] = team.barrier(number, optimizer).push(contribution(gradient)).norm

    run(lambda: life(0), lambda: life(1))
    assert norms[0] != norms[0] and norms[1] != norms[1]
    assert not team.parameters.any()


class Death(Exception):
    pass


class Mortal:
    """A rendezvous that its worker leaves for ever, instead of arriving at a meeting."""

    def __init__(self, rendezvous: Rendezvous) -> None:
        self.rendezvous, self.meetings_left = rendezvous, None

    @property
    def position(self) -> int:
        return self.rendezvous.position

    @property
    def lost(self) -> bool:
        return self.rendezvous.lost

    @property
    def catching_up(self) -> bool:
        return self.rendezvous.catching_up

    def meet(self, *contribute) -> None:
        if self.meetings_left is not None:
            if self.meetings_left == 0:
                raise Death
            self.meetings_left -= 1
        self.rendezvous.meet(*contribute)

    def begin_round(self) -> None:
        self.rendezvous.begin_round()


@pytest.mark.parametrize(
    ("num_stages", "meetings"), [(n, m) for n in (0, 2) for m in range(10 + 3 * n)]
)
def test_a_replacement_completes_the_segment_in_which_its_predecessor_died(num_stages, meetings):
    """A segment here is an average and three pushes of three meetings and the optimizer's.

    Worker 1 dies before one of them.
    """
    team = Team(2, P)
    done = []

    def segment(exchange: Barrier, number: int) -> float:
        mean = float(exchange.average(torch.tensor([float(number)])))
        pushes = [exchange.push(contribution(torch.ones(P))) for _ in range(3)]
        done.append((number, [applied is None for applied in pushes]))
        exchange.begin_round()
        return mean

    def mortal() -> None:
        rendezvous = Mortal(team.rendezvous(1))
        exchange = team.barrier(1, optimizer, rendezvous=rendezvous)
        segment(exchange, 1)
        rendezvous.meetings_left = meetings
        with pytest.raises(Death):
            segment(exchange, 1)
        time.sleep(0.3)
        replacement = team.barrier(1, optimizer)
        assert replacement.lost == (meetings > 1)
        # What was said at the last meeting is still there, and the others act on it. Nobody acts
        # any more on what came before.
        means = [segment(replacement, 1), segment(replacement, 1)]
        assert means == [0.5 if meetings <= 1 else 1.0, 0.5]

    class Counting(SharedOptimizer):
        steps = 0

        def step(self, contribution):
            Counting.steps += 1
            torch.testing.assert_close(contribution.gradient, torch.ones(P))

        def stages(self, contribution):
            def check():
                torch.testing.assert_close(contribution.gradient, torch.ones(P))

            return num_stages * [check]

    optimizer = Counting()

    def other() -> None:
        exchange = team.barrier(0, optimizer)
        assert [segment(exchange, 0) for _ in range(3)] == [0.5, 0.5, 0.5]

    run(other, mortal)
    assert Counting.steps == 9
    assert team.beats[0] > 0  # while it waited
    # A push that the predecessor had completed is no push of the replacement.
    completed = max(0, meetings - 1) // (3 + num_stages)
    of_replacement = [repeated for number, repeated in done if number == 1][1]
    assert of_replacement == [push < completed for push in range(3)]
    assert not any(any(repeated) for number, repeated in done if number == 0)
