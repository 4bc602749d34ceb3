import copy
import multiprocessing

import gymnasium as gym
import numpy as np
import torch

from a3c.heads import Categorical
from a3c.model import ActorCritic
from envs.batch import EnvironmentBatch
from tests.a3c.segments import unrolled
from workers.actor import Actor
from workers.progress import EpisodeReader, ProgressTable, WorkerRow


class Counting(gym.Env):
    """Observes how many steps the episode has had; ends by `terminate_at`, or by the clock at `truncate_at`."""

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
        info = {"episode": {"r": float(self.n), "l": self.n}} if terminated or truncated else {}
        return np.full(1, self.n, np.float32), 1.0, terminated, truncated, info


def make_actor(
    *, num_steps: int, ends: list[tuple[int, int]], whole_episodes: bool = False
) -> tuple[Actor, ActorCritic, ProgressTable]:
    torch.manual_seed(0)
    model = ActorCritic(
        observation_shape=(1,), head=Categorical(2), recurrent="lstm", hidden_size=8
    )
    table = ProgressTable(1, context=multiprocessing.get_context("spawn"))
    batch = EnvironmentBatch(
        [Counting(terminate_at=a, truncate_at=b) for a, b in ends], seeds=[0] * len(ends)
    )
    actor = Actor(
        model=model,
        environments=batch,
        num_steps=num_steps,
        generator=torch.Generator().manual_seed(0),
        row=WorkerRow(table, 0),
        whole_episodes=whole_episodes,
    )
    return actor, model, table


def test_a_segment_is_what_an_unroll_of_the_model_gives_again():
    actor, model, _ = make_actor(num_steps=7, ends=[(3, 99), (99, 4)])
    for _ in range(3):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.1)
        segment = actor.play()
        policy, values = unrolled(model, segment.observations, segment.state, segment.starts)
        log_probs, _ = model.head.log_prob_and_entropy(policy, segment.actions)
        torch.testing.assert_close(values, segment.values)
        torch.testing.assert_close(log_probs, segment.log_probs)


def test_episodes_cross_segments_and_their_ends_are_told_apart():
    actor, _, table = make_actor(num_steps=5, ends=[(3, 99), (99, 4)])
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


def test_a_segment_of_whole_episodes_ends_with_one_or_after_twice_as_many_steps():
    for ends, lengths in (
        ((3, 99), [6, 6]),
        ((99, 4), [8, 8]),
        ((5, 99), [5, 5]),
        ((13, 99), [10, 10]),
    ):
        actor, model, table = make_actor(num_steps=5, ends=[ends], whole_episodes=True)
        steps = 0
        for length in lengths:
            segment, steps = actor.play(), steps + length
            assert segment.rewards.shape == (length, 1)
            assert table.total("steps") == steps
            assert bool((segment.terminated | segment.truncated)[-1]) == (length < 10)
            _, values = unrolled(model, segment.observations, segment.state, segment.starts)
            torch.testing.assert_close(model.unroll(segment)[1], values)
            torch.testing.assert_close(segment.values, values)
            crossed = ~segment.truncated[:-1]
            torch.testing.assert_close(segment.next_values[:-1][crossed], values[1:][crossed])
    assert segment.observations[:, 0, 0].tolist() == [10, 11, 12, 0, 1, 2, 3, 4, 5, 6]


def test_a_truncated_step_is_bootstrapped_from_the_final_observation():
    actor, model, _ = make_actor(num_steps=6, ends=[(99, 4)])
    segment = actor.play()
    state, start = segment.state, torch.zeros(1, dtype=torch.bool)
    observations = torch.tensor(
        [[0.0], [1.0], [2.0], [3.0], [4.0]]
    )  # of the first episode, its final one included
    _, values = unrolled(model, observations[:, None], state, start.expand(5, 1))
    assert segment.truncated[3, 0]
    torch.testing.assert_close(segment.next_values[3, 0], values[4, 0])
    torch.testing.assert_close(segment.next_values[:3], segment.values[1:4])
    _, after_reset = unrolled(
        model, observations[:3, None], torch.zeros_like(state), start.expand(3, 1)
    )
    torch.testing.assert_close(segment.next_values[5, 0], after_reset[2, 0])
