import copy
import multiprocessing

import gymnasium as gym
import numpy as np
import pytest
import torch

from a3c.fast.network import FastActorCritic
from a3c.networks.actor_critic import ActorCritic, Network
from a3c.networks.heads import Categorical
from envs.batch import EnvironmentBatch
from envs.episodes import EpisodeStatistics
from workers.actor import Actor, segment_memory
from workers.progress import EpisodeReader, ProgressTable, WorkerRow


class Counting(gym.Env):
    """Observes how many steps the episode has had.

    It terminates after `terminate_at` steps and is truncated after `truncate_at`.
    """

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, *, terminate_at: int, truncate_at: int) -> None:
        self.ends = terminate_at, truncate_at

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.n = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.n += 1
        terminated, truncated = self.n == self.ends[0], self.n == self.ends[1]
        return np.full(1, self.n, np.float32), 1.0, terminated, truncated, {}


class Played:
    """An actor, and what it is made of."""

    def __init__(
        self,
        *,
        num_steps: int,
        ends: list[tuple[int, int]],
        whole_episodes: bool = False,
        fast: bool,
    ) -> None:
        torch.manual_seed(0)
        self.model = ActorCritic(
            observation_shape=(1,), head=Categorical(2), recurrent="lstm", hidden_size=8
        )
        environments = EnvironmentBatch(
            [EpisodeStatistics(Counting(terminate_at=a, truncate_at=b)) for a, b in ends],
            seeds=[0] * len(ends),
        )
        memory = segment_memory(
            self.model, environments, num_steps, whole_episodes=whole_episodes, weight=0.5
        )
        self.network: Network = self.model
        if fast:
            self.network = FastActorCritic(
                self.model,
                observations=memory.observations,
                next_observations=torch.from_numpy(environments.observations),
            )
        self.table = ProgressTable(1, context=multiprocessing.get_context("spawn"))
        self.actor = Actor(
            network=self.network,
            environments=environments,
            memory=memory,
            num_steps=num_steps,
            generator=torch.Generator().manual_seed(0),
            row=WorkerRow(self.table, 0),
        )


@pytest.fixture(params=[False, True], ids=["plain", "fast"])
def fast(request) -> bool:
    return request.param


def test_a_segment_is_what_an_unroll_of_the_model_gives_again(fast):
    played = Played(num_steps=7, ends=[(3, 99), (99, 4)], fast=fast)
    model = played.model
    for _ in range(3):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.1)
        segment = played.actor.play()
        unrolled = model.unroll(segment.observations, segment.state, segment.starts)
        log_probs, _ = model.head.log_prob_and_entropy(unrolled.policy, segment.actions)
        torch.testing.assert_close(unrolled.values, segment.values)
        torch.testing.assert_close(log_probs, segment.log_probs)
        assert segment.weight == 0.5


def test_episodes_cross_segments_and_their_ends_are_told_apart(fast):
    played = Played(num_steps=5, ends=[(3, 99), (99, 4)], fast=fast)
    actor, table = played.actor, played.table
    reader = EpisodeReader(table)
    segments = [copy.deepcopy(actor.play()), actor.play()]
    assert segments[1].observations[:, 0, 0].tolist() == [2, 0, 1, 2, 0]
    assert segments[1].terminated[:, 0].tolist() == [True, False, False, True, False]
    assert segments[1].truncated[:, 1].tolist() == [False, False, True, False, False]
    assert segments[1].starts[:, 0].tolist() == [False, True, False, False, True]
    assert [(r, n) for r, n, _ in reader.new()] == [
        (3.0, 3),
        (4.0, 4),
        (3.0, 3),
        (4.0, 4),
        (3.0, 3),
    ]
    assert table.total("steps") == 20
    assert reader.new() == []


@pytest.mark.parametrize(
    ("ends", "lengths"),
    [
        ((3, 99), [6, 6]),
        ((99, 4), [8, 8]),
        ((5, 99), [5, 5]),
        ((13, 99), [10, 10]),
    ],
)
def test_a_segment_of_whole_episodes_ends_with_one_or_after_twice_as_many_steps(
    ends, lengths, fast
):
    played = Played(num_steps=5, ends=[ends], whole_episodes=True, fast=fast)
    steps = 0
    for length in lengths:
        segment, steps = played.actor.play(), steps + length
        assert segment.rewards.shape == (length, 1)
        assert played.table.total("steps") == steps
        assert bool((segment.terminated | segment.truncated)[-1]) == (length < 10)
        seen = segment.observations, segment.state, segment.starts
        values = played.model.unroll(*seen).values
        torch.testing.assert_close(played.network.unroll(*seen).values, values)
        torch.testing.assert_close(segment.values, values)
        crossed = ~segment.truncated[:-1]
        torch.testing.assert_close(segment.next_values[:-1][crossed], values[1:][crossed])
    if ends == (13, 99):
        expected = [10, 11, 12, 0, 1, 2, 3, 4, 5, 6]
        assert segment.observations[:, 0, 0].tolist() == expected


def test_a_truncated_step_is_bootstrapped_from_the_final_observation(fast):
    played = Played(num_steps=6, ends=[(99, 4)], fast=fast)
    segment, model = played.actor.play(), played.model
    state, starts = segment.state, torch.zeros(5, 1, dtype=torch.bool)
    # Of the first episode, its final observation included.
    observations = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0]])
    values = model.unroll(observations[:, None], state, starts).values
    assert segment.truncated[3, 0]
    torch.testing.assert_close(segment.next_values[3, 0], values[4, 0])
    torch.testing.assert_close(segment.next_values[:3], segment.values[1:4])
    after_reset = model.unroll(observations[:3, None], torch.zeros_like(state), starts[:3]).values
    torch.testing.assert_close(segment.next_values[5, 0], after_reset[2, 0])


def test_an_actor_goes_on_where_a_state_was_taken(fast):
    ends = [(3, 99), (99, 4)]
    first, second = (Played(num_steps=5, ends=ends, fast=fast).actor for _ in range(2))
    first.play()
    second.load_state(first.state())
    for own, loaded in zip(first.play().tensors(), second.play().tensors(), strict=True):
        torch.testing.assert_close(own, loaded, rtol=0.0, atol=0.0)
