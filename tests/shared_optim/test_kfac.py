"""K-FAC's steps against dense matrices and one big batch."""

import dataclasses
import math

import pytest
import torch

from shared_optim.kfac_memory import KFACSettings, Known
from shared_optim.kronecker import LinearMap
from tests.shared_optim.kfac_team import INPUTS, ROWS, SIZE, WARM, Team, make_samples, one_map


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
    """-log N(y; W a, 1) is a parabola in W.

    With exact factors one natural step of size 1 reaches the least squares solution.
    """
    torch.manual_seed(0)
    a, _ = make_samples(200)
    targets = a @ torch.randn(INPUTS + 1, ROWS)
    map_ = one_map(200)
    team = Team([map_], settings=KFACSettings(**WARM, damping=1e-12, kl_clip=math.inf))
    # G = I, as noise of deviation 1 has it on average.
    g = math.sqrt(200) * torch.linalg.qr(torch.randn(200, ROWS)).Q
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
        both.push([gradient], samples, learning_rate=0.1, groups=(1,))
    assert not both.parameters[:SIZE].any()
    alone = Team([one_map(50)], settings=dataclasses.replace(critic))
    for _ in range(3):
        alone.push([gradient[SIZE:]], [samples[0][1:]], learning_rate=0.1)
    torch.testing.assert_close(both.parameters[SIZE:], alone.parameters)

    moved = both.parameters.clone()
    both.push([gradient], samples, learning_rate=0.1, groups=(0,))
    alone = Team([one_map(50)], settings=policy)
    alone.push([gradient[:SIZE]], [samples[0][:1]], learning_rate=0.1)
    torch.testing.assert_close(both.parameters, torch.cat((alone.parameters, moved[SIZE:])))


def test_the_step_size_follows_the_divergence_once_steps_are_natural():
    """A divergence is that of the last step, and is known at the next one."""
    torch.manual_seed(0)
    # One inversion, so that one gradient makes one direction.
    settings = KFACSettings(
        cold_updates=1, inverse_interval=1000, momentum=0.0, kl_clip=math.inf, desired_kl=0.02
    )
    team = Team([one_map(50)], settings=settings)

    def step(divergence: float | None) -> float:
        """The length of a step that is told how far the last one went."""
        before = team.parameters.clone()
        (told,) = team.push(
            [torch.ones(SIZE)], [[make_samples(50)]], learning_rate=0.1, divergence=divergence
        )
        factors.append(told.step_size_factor)
        return float((before - team.parameters).norm())

    factors: list[float] = []
    told = (None, 0.0, math.nan, 0.0, 0.011, 0.02, 0.039, 0.041, 0.041)
    sizes = [step(divergence) for divergence in told]
    # A cold step, whose divergence says nothing.
    assert sizes[0] == pytest.approx(0.1 * math.sqrt(SIZE), rel=1e-4)
    expected = [1, 1, 1.5, 1.5, 1.5, 1.5, 1, 1 / 1.5]
    assert [size / sizes[1] for size in sizes[1:]] == pytest.approx(expected, rel=1e-3)
    assert factors == pytest.approx([1, *expected], rel=1e-3)
    for _ in range(30):
        step(1.0)
    assert step(None) == pytest.approx(1e-3 * sizes[1], rel=1e-2)
    for _ in range(50):
        step(0.0)
    assert step(None) == pytest.approx(1e3 * sizes[1], rel=1e-2)


def test_without_a_desired_divergence_the_step_size_stays():
    torch.manual_seed(0)
    team = Team([one_map(50)], settings=KFACSettings(**WARM, kl_clip=math.inf))
    for divergence in (None, 0.0, 9.0):
        (told,) = team.push([torch.ones(SIZE)], [[make_samples(50)]], divergence=divergence)
        assert told.step_size_factor == 1.0


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
