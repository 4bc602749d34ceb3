"""K-FAC's factors: samples, running averages, and decompositions that fail."""

import math

import pytest
import torch

from shared_optim.contribution import Contribution
from shared_optim.kfac_memory import KFACSettings
from shared_optim.kronecker import RETRIES
from tests.shared_optim.kfac_team import SIZE, WARM, Team, make_samples, one_map


@pytest.mark.parametrize("inverse", ["cholesky", "eigh"])
def test_a_decomposition_that_fails_is_counted_and_the_last_good_one_serves_on(
    inverse, monkeypatch
):
    torch.manual_seed(0)
    team = Team([one_map(20)], settings=KFACSettings(**WARM, kl_clip=0.01, inverse=inverse))
    team.push([torch.randn(SIZE)], [[make_samples(20)]])
    stored = team.factors[0].inverse
    good = stored.clone()
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
    assert torch.equal(stored, good)
    assert torch.isfinite(team.parameters).all() and not torch.equal(team.parameters, before)
    monkeypatch.undo()
    team.push([torch.randn(SIZE)], [[make_samples(20)]])
    assert team.failures == [0]
    assert not torch.equal(stored, good)


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
    """Grosse & Martens 2016: A sums over locations, G is their mean; both are means over cases."""
    torch.manual_seed(0)
    team = Team([one_map(20, locations=4)], settings=KFACSettings(**WARM))
    a, g = make_samples(20)
    team.push([torch.randn(SIZE)], [[(a, g)]])
    A, G = team.factors
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
    team.factors[0].inverse.neg_()
    team.push([torch.randn(SIZE)], [[make_samples(20)]])
    assert torch.equal(team.parameters, before)


def test_without_an_inverse_there_is_one_at_the_next_update_and_factors_come_as_often_as_asked():
    torch.manual_seed(0)
    settings = KFACSettings(
        cold_updates=0, inverse_interval=100, factor_interval=2, momentum=0.0, kl_clip=0.01
    )
    team = Team([one_map(20)], settings=settings)
    called = []

    def samples():
        called[-1] += 1
        return [make_samples(20)]

    exchange = team.barrier(0, team.optimizers[0], rendezvous=team.meeting[0])
    for _ in range(4):
        called.append(0)
        exchange.push(Contribution(gradient=torch.randn(SIZE), learning_rate=1.0, samples=samples))
        assert team.factors[0].inverse.any()
        team.factors[0].inverse.zero_()
    assert called == [1, 0, 1, 0]


def test_samples_are_taken_where_a_group_that_moves_renews_its_factors():
    torch.manual_seed(0)
    maps = [one_map(20), one_map(20, group=1, start=SIZE)]
    settings = [KFACSettings(**WARM, kl_clip=0.01, factor_interval=interval) for interval in (1, 3)]
    team, called = Team(maps, settings=settings, size=2 * SIZE), []

    def samples():
        called[-1] += 1
        return [make_samples(20), make_samples(20)]

    exchange = team.barrier(0, team.optimizers[0], rendezvous=team.meeting[0])
    for groups in ((1,), (1,), (1,), (1,), (0,), (), ()):
        called.append(0)
        exchange.push(
            Contribution(
                gradient=torch.randn(2 * SIZE), learning_rate=0.1, groups=groups, samples=samples
            )
        )
    assert called == [1, 0, 0, 1, 1, 1, 1]
