"""K-FAC against dense matrices, one big batch, and decompositions that fail."""

import dataclasses
import functools
import math
import multiprocessing
import threading

import pytest
import torch

from shared_optim.exchange import Barrier, BarrierMemory
from shared_optim.kfac import KFACMemory, KFACSettings, Known, SharedKFAC, kfac_statistics_size
from shared_optim.kronecker import RETRIES, LinearMap

ROWS, INPUTS = 3, 4
SIZE = ROWS * (INPUTS + 1)
WARM = {"cold_updates": 0, "inverse_interval": 1, "momentum": 0.0}


def one_map(num_samples: int, *, group: int = 0, start: int = 0, locations: int = 1) -> LinearMap:
    return LinearMap(
        weight=start,
        bias=start + ROWS * INPUTS,
        rows=ROWS,
        inputs=INPUTS,
        group=group,
        num_samples=num_samples,
        locations=locations,
    )


def make_samples(num_samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.cat(
        (torch.randn(num_samples, INPUTS), torch.ones(num_samples, 1)), 1
    ), torch.randn(num_samples, ROWS)


class Team:
    """W workers at one barrier, each a thread, whose optimizer is K-FAC."""

    def __init__(self, maps, num_workers: int = 1, *, known=(), settings, size: int = SIZE) -> None:
        context = multiprocessing.get_context("spawn")
        options = {"num_workers": num_workers, "num_parameters": size, "context": context}
        self.kfac = KFACMemory.create(maps, known, **options)
        self.barrier = BarrierMemory.create(num_workers, size, context=context)
        settings = settings if isinstance(settings, list) else [settings]
        self.failures: list[int] = []  # of whose inversions
        self.parameters, self.statistics = (
            torch.zeros(size),
            torch.zeros(kfac_statistics_size(maps, size)),
        )
        self.workers = [
            Barrier(
                memory=self.barrier,
                worker=worker,
                parameters=self.parameters,
                optimizer=SharedKFAC(
                    self.parameters,
                    self.statistics,
                    memory=self.kfac,
                    worker=worker,
                    settings=settings,
                    failed=functools.partial(self.failures.append, worker),
                ),
                beat=lambda: None,
                patient=False,
            )
            for worker in range(num_workers)
        ]

    def push(
        self, gradients, samples, *, learning_rate: float = 1.0, max_norm: float = 1e9
    ) -> None:
        """One update; a gradient and samples of each worker."""

        def life(worker: Barrier, gradient, own) -> None:
            worker.push(gradient, learning_rate=learning_rate, max_norm=max_norm, samples=own)

        contributions = zip(self.workers, gradients, samples, strict=True)
        threads = [
            threading.Thread(target=life, args=contribution, daemon=True)
            for contribution in contributions
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()


def vec(map_: LinearMap, vector: torch.Tensor) -> torch.Tensor:
    """Columns of the map's matrix below one another, so that (A ⊗ G) vec(V) = vec(G V A)."""
    return map_.matrix(vector).t().reshape(-1).double()


@pytest.mark.parametrize("inverse", ["eigh", "cholesky"])
@pytest.mark.parametrize("num_samples", [2, 50])
def test_on_one_linear_map_the_step_is_the_natural_gradients(inverse, num_samples):
    torch.manual_seed(0)
    map_, damping = one_map(num_samples), 0.05
    team = Team(
        [map_], settings=KFACSettings(**WARM, damping=damping, kl_clip=math.inf, inverse=inverse)
    )
    a, g = make_samples(num_samples)
    gradient = torch.randn(SIZE)
    team.push([gradient], [[(a, g)]], learning_rate=0.5)

    A, G = (a.t() @ a / num_samples).double(), (g.t() @ g / num_samples).double()
    if inverse == "eigh":
        fisher = torch.kron(A, G) + damping * torch.eye(SIZE)
    else:
        pi = math.sqrt((A.trace() / len(A)) / (G.trace() / len(G)))
        fisher = torch.kron(
            A + pi * math.sqrt(damping) * torch.eye(len(A)),
            G + math.sqrt(damping) / pi * torch.eye(len(G)),
        )
    expected = -0.5 * torch.linalg.solve(fisher, vec(map_, gradient))
    torch.testing.assert_close(vec(map_, team.parameters), expected, rtol=1e-3, atol=1e-4)


def test_without_damping_the_step_undoes_the_curvature_of_a_gaussians_mean():
    """-log N(y; W a, 1) is a parabola in W: with exact factors one natural step of size 1 reaches the least squares solution."""
    torch.manual_seed(0)
    a, _ = make_samples(200)
    targets = a @ torch.randn(INPUTS + 1, ROWS)
    map_ = one_map(200)
    team = Team([map_], settings=KFACSettings(**WARM, damping=1e-12, kl_clip=math.inf))
    g = (
        math.sqrt(200) * torch.linalg.qr(torch.randn(200, ROWS)).Q
    )  # G = I, as noise of deviation 1 has it on average
    gradient = torch.empty(SIZE)
    map_.write(
        gradient, (a @ map_.matrix(team.parameters).t() - targets).t() @ a / 200, slice(None)
    )
    team.push([gradient], [[(a, g)]])
    torch.testing.assert_close(a @ map_.matrix(team.parameters).t(), targets, atol=1e-3, rtol=1e-3)


def test_each_trust_region_is_kept_and_momentum_runs_on():
    torch.manual_seed(0)
    maps = [one_map(50), one_map(50, group=1, start=SIZE)]
    known = [Known(slice(2 * SIZE, 2 * SIZE + 2), 2.0)]
    settings = KFACSettings(
        cold_updates=0, inverse_interval=100, momentum=0.5, kl_clip=1e-4, damping=0.1
    )
    team = Team(
        maps,
        known=known,
        settings=[settings, dataclasses.replace(settings, kl_clip=1e9)],
        size=2 * SIZE + 2,
    )
    samples = [[make_samples(50), make_samples(50)]]
    gradient = torch.randn(2 * SIZE + 2)
    team.push([gradient], samples, learning_rate=0.1)
    directions = team.kfac.direction.tensor.clone()
    torch.testing.assert_close(directions[2 * SIZE :], gradient[2 * SIZE :] / 2.1)
    pieces = [
        torch.cat((torch.arange(SIZE), torch.arange(2 * SIZE, 2 * SIZE + 2))),
        torch.arange(SIZE, 2 * SIZE),
    ]
    first = team.parameters.clone()
    policy, critic = (first[piece] for piece in pieces)
    nu = math.sqrt(1e-4 / (0.1**2 * float(directions[pieces[0]] @ gradient[pieces[0]])))
    assert nu < 0.1
    torch.testing.assert_close(policy, -0.1 * 0.5 * nu * directions[pieces[0]])
    torch.testing.assert_close(critic, -0.1 * 0.5 * directions[pieces[1]])
    team.push([torch.zeros_like(gradient)], samples, learning_rate=0.1)
    torch.testing.assert_close(team.parameters, 1.5 * first)


def test_groups_move_alone_each_with_settings_and_a_count_of_its_own():
    torch.manual_seed(0)
    maps = [one_map(50), one_map(50, group=1, start=SIZE)]
    policy = KFACSettings(**WARM, kl_clip=math.inf, damping=0.1)
    critic = dataclasses.replace(policy, cold_updates=2, damping=1.0)
    both = Team(maps, settings=[policy, critic], size=2 * SIZE)
    samples, gradient = [[make_samples(50), make_samples(50)]], torch.randn(2 * SIZE)
    for _ in range(3):  # two of them cold
        both.workers[0].select((1,))
        both.push([gradient], samples, learning_rate=0.1)
    assert not both.parameters[:SIZE].any()
    alone = Team([one_map(50)], settings=dataclasses.replace(critic))
    for _ in range(3):
        alone.push([gradient[SIZE:]], [samples[0][1:]], learning_rate=0.1)
    torch.testing.assert_close(both.parameters[SIZE:], alone.parameters)

    moved = both.parameters.clone()
    both.workers[0].select((0,))
    both.push([gradient], samples, learning_rate=0.1)
    alone = Team([one_map(50)], settings=policy)
    alone.push([gradient[:SIZE]], [samples[0][:1]], learning_rate=0.1)
    torch.testing.assert_close(both.parameters, torch.cat((alone.parameters, moved[SIZE:])))


def test_the_step_size_follows_the_divergence_once_steps_are_natural():
    torch.manual_seed(0)
    # One inversion, so that one gradient makes one direction.
    settings = KFACSettings(cold_updates=1, inverse_interval=1000, momentum=0.0, kl_clip=math.inf)
    team = Team([one_map(50)], settings=settings)
    (worker,), sizes = team.workers, []
    for divergence in (0.0, math.nan, 0.0, 0.011, 0.02, 0.039, 0.041, 0.041):
        before = team.parameters.clone()
        team.push([torch.ones(SIZE)], [[make_samples(50)]], learning_rate=0.1)
        sizes.append(float((before - team.parameters).norm()))
        worker.adapt(divergence, desired=0.02)
    assert sizes[0] == pytest.approx(
        0.1 * math.sqrt(SIZE), rel=1e-4
    )  # a cold one, that says nothing
    assert [size / sizes[1] for size in sizes[1:]] == pytest.approx(
        [1, 1, 1.5, 1.5, 1.5, 1.5, 1], rel=1e-3
    )
    for _ in range(100):
        worker.adapt(1.0, desired=0.02)
    before = team.parameters.clone()
    team.push([torch.ones(SIZE)], [[make_samples(50)]], learning_rate=0.1)
    assert float((before - team.parameters).norm()) == pytest.approx(1e-3 * sizes[1], rel=1e-2)


@pytest.mark.parametrize("num_samples", [2, 30])
def test_workers_equal_one_with_all_their_samples(num_samples):
    torch.manual_seed(0)
    settings = KFACSettings(cold_updates=2, inverse_interval=2, stat_decay=0.6, kl_clip=0.01)
    alone = Team([one_map(3 * num_samples)], settings=settings)
    team = Team([one_map(num_samples)], 3, settings=settings)
    for _ in range(7):
        gradients, samples = (
            [torch.randn(SIZE) for _ in range(3)],
            [make_samples(num_samples) for _ in range(3)],
        )
        team.push(gradients, [[own] for own in samples], learning_rate=0.1)
        together = tuple(torch.cat(parts) for parts in zip(*samples, strict=True))
        alone.push([torch.stack(gradients).mean(0)], [[together]], learning_rate=0.1)
        torch.testing.assert_close(team.parameters, alone.parameters, rtol=1e-4, atol=1e-6)
    assert alone.parameters.abs().max() > 0.01


def test_while_cold_steps_are_plain_and_cut_to_the_longest_gradient():
    torch.manual_seed(0)
    team = Team([one_map(5)], settings=KFACSettings(momentum=0.0, cold_updates=1))
    gradient = torch.randn(SIZE)
    team.push([gradient], [[make_samples(5)]], learning_rate=0.1, max_norm=0.5)
    torch.testing.assert_close(team.parameters, -0.1 * 0.5 * gradient / gradient.norm())


def test_the_first_natural_step_knows_nothing_of_the_cold_ones():
    torch.manual_seed(0)
    settings = KFACSettings(momentum=0.9, cold_updates=3, kl_clip=1e-4)
    team = Team([one_map(50)], settings=settings)
    for _ in range(3):
        team.push([torch.ones(SIZE)], [[make_samples(50)]])
    before, gradient = team.parameters.clone(), torch.randn(SIZE)
    team.push([gradient], [[make_samples(50)]])
    direction = team.kfac.direction.tensor
    nu = math.sqrt(1e-4 / float(direction @ gradient))
    assert nu < 1
    torch.testing.assert_close(team.parameters - before, -0.1 * nu * direction)


@pytest.mark.parametrize("inverse", ["cholesky", "eigh"])
def test_a_decomposition_that_fails_is_counted_and_the_last_good_one_serves_on(
    inverse, monkeypatch
):
    torch.manual_seed(0)
    team = Team([one_map(20)], settings=KFACSettings(**WARM, kl_clip=0.01, inverse=inverse))
    team.push([torch.randn(SIZE)], [[make_samples(20)]])
    optimizer = team.workers[0]._optimizer
    good = optimizer._factors[0][0].inverse.clone()
    calls = []

    def fail(matrix, *_):
        calls.append(matrix.dtype)
        raise torch.linalg.LinAlgError("injected")

    def fail_quietly(matrix):
        calls.append(matrix.dtype)
        return matrix, torch.ones((), dtype=torch.int32)

    monkeypatch.setattr(torch.linalg, "eigh", fail)
    monkeypatch.setattr(torch.linalg, "cholesky_ex", fail_quietly)
    before = team.parameters.clone()
    team.push([torch.randn(SIZE)], [[make_samples(20)]])
    retries = RETRIES if inverse == "cholesky" else 1
    assert calls == [torch.float32] + retries * [torch.float64]
    assert team.failures == [0]
    assert torch.equal(optimizer._factors[0][0].inverse, good)
    assert torch.isfinite(team.parameters).all() and not torch.equal(team.parameters, before)
    monkeypatch.undo()
    team.push([torch.randn(SIZE)], [[make_samples(20)]])
    assert team.failures == [0]
    assert not torch.equal(optimizer._factors[0][0].inverse, good)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("number", [2, 20])  # fewer than columns, and more
def test_samples_that_are_not_finite_leave_the_factors_as_they_are(number, value):
    torch.manual_seed(0)
    team = Team([one_map(number)], settings=KFACSettings(**WARM, kl_clip=0.01))
    for broken in (False, True, False):
        a, g = make_samples(number)
        a[1, 1] = value if broken else a[1, 1]
        team.push([torch.randn(SIZE)], [[(a, g)]])
        assert torch.isfinite(team.parameters).all() and torch.isfinite(team.statistics).all()


def test_a_gradient_that_is_not_finite_moves_nothing():
    torch.manual_seed(0)
    team = Team([one_map(20)], settings=KFACSettings(**WARM, kl_clip=0.01))
    team.push([torch.randn(SIZE)], [[make_samples(20)]])
    before = team.parameters.clone()
    team.push([torch.full((SIZE,), math.inf)], [[make_samples(20)]])
    assert torch.equal(team.parameters, before)
    team.push([torch.randn(SIZE)], [[make_samples(20)]])
    assert torch.isfinite(team.parameters).all() and not torch.equal(team.parameters, before)


def test_a_convolution_counts_every_location_of_a_case():
    """Grosse & Martens 2016: A = Σ over locations, G the mean over them, both averaged over cases."""
    torch.manual_seed(0)
    team = Team([one_map(20, locations=4)], settings=KFACSettings(**WARM))
    a, g = make_samples(20)
    team.push([torch.randn(SIZE)], [[(a, g)]])
    A, G = team.workers[0]._optimizer._factors[0]
    torch.testing.assert_close(A.mean, a.t() @ a / 5)
    torch.testing.assert_close(G.mean, g.t() @ g / 20)


def test_a_step_against_the_curvature_is_not_made():
    """As a broken inverse could ask for."""
    torch.manual_seed(0)
    team = Team(
        [one_map(20)],
        settings=KFACSettings(cold_updates=0, inverse_interval=100, momentum=0.0, kl_clip=0.01),
    )
    team.push([torch.randn(SIZE)], [[make_samples(20)]])
    before = team.parameters.clone()
    assert before.any()
    team.workers[0]._optimizer._factors[0][0].inverse.neg_()
    team.push([torch.randn(SIZE)], [[make_samples(20)]])
    assert torch.equal(team.parameters, before)


def test_without_an_inverse_there_is_one_at_the_next_update_and_factors_come_as_often_as_asked():
    torch.manual_seed(0)
    settings = KFACSettings(
        cold_updates=0, inverse_interval=100, factor_interval=2, momentum=0.0, kl_clip=0.01
    )
    team = Team([one_map(20)], settings=settings)
    wanted = []
    for _ in range(4):
        wanted.append(team.workers[0].wants_samples)
        team.push([torch.randn(SIZE)], [[make_samples(20)] if wanted[-1] else ()])
        factor = team.workers[0]._optimizer._factors[0][0]
        assert factor.inverse.any()
        factor.inverse.zero_()
    assert wanted == [True, False, True, False]
