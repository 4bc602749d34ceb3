"""Whole episodes of a fixed policy."""

import math

import pytest
import torch

from a3c.networks.actor_critic import ActorCritic
from a3c.networks.heads import Categorical
from envs.episodes import Points
from envs.faults import FaultyNumber
from envs.ids import resolve
from envs.make import make
from tests.workers.runs import flags
from workers.play import play_episodes, replay
from workers.snapshot import restore_policy
from workers.supervision.launch import prepare


@pytest.fixture
def policy(tmp_path):
    """Return an untrained policy of the bandit, and three environments."""
    arguments = flags("--env-name envs.toys:Bandit-v0 --num-processes 1")
    run = prepare([*arguments, "--run-dir", str(tmp_path / "run")])
    model, config, resolved = restore_policy(run.policy_state())
    run.close()
    length = config.max_episode_length
    environments = [make(resolved, training=False, max_episode_length=length) for _ in range(3)]
    return model, environments


@pytest.mark.parametrize("sampled", [False, True])
def test_equal_seeds_give_equal_episodes(policy, sampled):
    model, environments = policy
    first, second = (
        play_episodes(model, environments, seeds=[1, 2, 3], sampled=sampled, steps=7)
        for _ in range(2)
    )
    assert first == second
    assert first.steps == 7
    assert first.lengths == (5, 5, 5)
    assert len(first.returns) == 3
    assert first.mean == pytest.approx(sum(first.returns) / 3)


def test_interrupted_episodes_are_none(policy):
    model, environments = policy
    answers = iter([False, False, True])
    played = play_episodes(
        model,
        environments,
        seeds=[1, 2, 3],
        sampled=False,
        steps=0,
        interrupted=lambda: next(answers),
    )
    assert played is None


def test_an_episode_is_the_same_alone_and_among_others(policy):
    model, environments = policy
    together, alone = (
        play_episodes(model, chosen, seeds=seeds, sampled=True, steps=0)
        for chosen, seeds in ((environments, [1, 2, 3]), (environments[1:2], [2]))
    )
    assert together.returns[1] == alone.returns[0]


class Uniform:
    """A policy that knows nothing: all actions are equally probable."""

    def __init__(self, num_actions):
        self.head = Categorical(num_actions)

    def initial_state(self, size):
        return torch.zeros(size, 0)

    def step(self, observations, state):
        return torch.zeros(len(observations), self.head.num_actions), None, state


@pytest.fixture
def game():
    """Return a function that makes a game's environments, which are closed at the end."""
    made = []

    def make_games(name, number, *, length=100_000):
        resolved = resolve(name)
        for _ in range(number):
            made.append(Points(make(resolved, training=False, max_episode_length=length)))
        return Uniform(made[0].action_space.n), made[-number:]

    yield make_games
    for environment in made:
        environment.close()


def test_games_of_one_evaluation_differ_where_the_emulator_is_deterministic(game):
    policy, games = game("PongDeterministic-v4", 8)
    played = play_episodes(policy, games, seeds=[*range(8)], sampled=True, steps=0)
    assert min(played.lengths) > 500
    assert len({game.points for game in games}) == 8


def test_pong_is_one_game_whatever_is_waited_before_it(game):
    policy, games = game("PongDeterministic-v4", 3, length=300)
    play_episodes(policy, games, seeds=[1, 2, 3], sampled=False, steps=0)
    assert len({game.points for game in games}) == 1
    assert len(games[0].points) > 3


@pytest.mark.parametrize("name", ["Pong-v0", "BreakoutNoFrameskip-v4"])
def test_a_game_is_replayed_from_its_seed_and_actions(game, name):
    policy, (first, second) = game(name, 2, length=150)
    for seed in (5, 6):  # the first environment has played before
        actions = []
        played = play_episodes(
            policy, [first], seeds=[seed], sampled=True, steps=0, on_action=actions.append
        )
    end = replay(second, seed=6, actions=actions, interrupted=lambda: False)
    assert end == (played.returns[0], played.lengths[0])
    assert first.points == second.points


@pytest.mark.parametrize(
    ("kwargs", "length"),
    [
        ({"rewards": {3: math.nan}}, 2),
        ({"rewards": {1: -1e30}}, 0),
        ({"observations": {3: [math.inf, 0.0]}}, 2),
        ({"observations": {0: [0.0, math.nan]}}, 0),
    ],
)
def test_a_faulty_number_ends_its_episode_without_a_return(kwargs, length):
    faults = []
    played = of_misbehaving([{}, kwargs, {"one_info": True}], on_fault=faults.append)
    assert played.lengths == (3, length, 3)
    assert played.returns[0] == played.returns[2] == played.mean == 3.0
    assert math.isnan(played.returns[1])
    assert [str(fault).partition(" gave ")[0] for fault in faults] == ["Misbehaving-v0"]
    with pytest.raises(FaultyNumber, match="Misbehaving-v0 gave"):
        of_misbehaving([{}, kwargs])
    assert math.isnan(of_misbehaving([kwargs], on_fault=faults.append).mean)


def test_side_by_side_games_that_share_an_array_are_not_mixed_up():
    seen = []

    class Watched(ActorCritic):
        def step(self, observations, state):
            seen.append(observations.tolist())
            return super().step(observations, state)

    torch.manual_seed(0)
    model = Watched(observation_shape=(2,), head=Categorical(2), hidden_size=4)
    of_misbehaving([{"one_array": True, "length": length} for length in (1, 3)], model=model)
    assert seen == [[[1, 0], [1, 0]], [[1, 1]], [[1, 2]]]


def of_misbehaving(kwargs, *, model=None, **options):
    """Play an episode in misbehaving environments, each with keyword arguments."""
    environments = [
        make(resolve("tests.envs.misbehaving:Misbehaving-v0", env_kwargs=own), training=False)
        for own in kwargs
    ]
    torch.manual_seed(0)
    model = model or ActorCritic(observation_shape=(2,), head=Categorical(2), hidden_size=4)
    seeds = [*range(len(kwargs))]
    return play_episodes(model, environments, seeds=seeds, sampled=False, steps=0, **options)
