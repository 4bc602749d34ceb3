"""What is done to a segment before an algorithm learns from it."""

import dataclasses

import numpy as np
import pytest
import torch

from a3c.segment import Segment
from envs.normaliser import RewardScale, SharedNormaliser
from shared_optim.exchange import Hogwild
from shared_optim.optimizers import SharedRMSprop
from tests.workers.tasks import bandit_task, make_trainer, together
from workers.preparation import end_truncated, ignore_faulty, reward_scaler, weigher
from workers.trainer import Trainer


def blank(num_steps: int = 3, batch_size: int = 1) -> Segment:
    return Segment.seen(
        observations=torch.zeros(num_steps, batch_size, 1),
        starts=torch.zeros(num_steps, batch_size, dtype=torch.bool),
        state=torch.zeros(batch_size, 0),
        actions=torch.zeros(num_steps, batch_size, dtype=torch.int64),
    )


def alone(kind: type[Hogwild] = Hogwild) -> Hogwild:
    """Return an exchange of one worker."""
    parameters = torch.zeros(1)
    optimizer = SharedRMSprop(parameters, torch.zeros(1))
    return kind(parameters=parameters, optimizer=optimizer, max_norm=1.0)


def test_truncated_episodes_are_taken_for_terminated_ones():
    segment = blank()
    segment.truncated[1], segment.terminated[2] = True, True
    segment = end_truncated(segment)
    assert segment.terminated.flatten().tolist() == [False, True, True]
    assert not segment.truncated.any()


def test_rewards_are_scaled_once_all_workers_have_added_theirs():
    rows = np.zeros((2, SharedNormaliser.row_size(1)))
    own, others = (
        RewardScale(SharedNormaliser(rows), row=row, size=1, gamma=0.5) for row in range(2)
    )

    class Meeting(Hogwild):
        def meet(self) -> None:
            others.update(np.full((1, 1), 9.0, np.float32), ended=np.ones((1, 1), np.bool_))

    segment = blank()
    segment.rewards.copy_(torch.tensor([[1.0], [2.0], [4.0]]))
    segment.truncated[0], segment.terminated[1] = True, True
    scaled = reward_scaler(own, alone(Meeting))(segment)
    deviation = np.std([1.0, 2.0, 4.0, 9.0])  # of sums that begin anew where an episode ended
    torch.testing.assert_close(scaled.rewards.flatten() * deviation, torch.tensor([1.0, 2.0, 4.0]))


@pytest.mark.parametrize("gamma", [0.9, 1.0])
@pytest.mark.parametrize("time_limits", [True, False])
def test_a_faulty_step_is_worth_what_the_critic_expected(gamma, time_limits):
    segment = blank(num_steps=4, batch_size=2)
    segment.values.copy_(torch.arange(8.0).view(4, 2))
    segment.next_values.copy_(torch.arange(10.0, 18.0).view(4, 2))
    segment.rewards.fill_(1.0)
    segment.rewards[2, 0], segment.truncated[2, 0] = torch.nan, True
    sound = segment.of(torch.tensor([1])).advantages(gamma=gamma, gae_lambda=1.0)
    if not time_limits:
        end_truncated(segment)
    advantages = ignore_faulty(segment).advantages(gamma=gamma, gae_lambda=1.0)
    assert advantages[2, 0] == 0
    # The step before it learns from the critic's value of the last observation that was sound.
    segment.next_values[1, 0] = segment.values[2, 0]
    before = 1.0 + gamma * segment.values[2, 0] - segment.values[1, 0]
    again = segment.advantages(gamma=gamma, gae_lambda=1.0)
    torch.testing.assert_close(again[1, 0], before)
    torch.testing.assert_close(advantages[:, 1:], sound)


def test_a_faulty_reward_is_not_in_the_statistics_of_rewards():
    scales = []
    for rewards in ([1.0, 2.0, torch.nan, 4.0], [1.0, 2.0, 4.0]):
        statistics = SharedNormaliser(np.zeros((1, SharedNormaliser.row_size(1))))
        segment = blank(num_steps=len(rewards))
        segment.rewards.copy_(torch.tensor(rewards)[:, None])
        segment.truncated[len(rewards) - 2] = True
        scale = RewardScale(statistics, row=0, size=1, gamma=0.5)
        segment = ignore_faulty(reward_scaler(scale, alone())(segment))
        assert segment.rewards.isfinite().all()
        scales.append((*statistics.merged(), scale.state()["sums"]))
    (count, mean, deviation, sums), expected = scales
    assert (count, mean.item(), deviation.item()) == (
        expected[0],
        *map(np.ndarray.item, expected[1:3]),
    )
    assert sums.equal(expected[3])


def test_segments_of_whole_episodes_count_by_their_lengths(tmp_path):
    task = bandit_task(tmp_path, "--algo", "a2c", "--whole-episodes")
    weights = {}

    def life(trainer: Trainer) -> None:
        segment = trainer.actor.play().first(2 + 4 * trainer.worker)
        weights[trainer.worker] = trainer.prepare(segment).weight

    together(task, life)
    assert weights == {0: 0.5, 1: 1.5}


def test_alone_a_segment_counts_as_one_whatever_its_length():
    segment = dataclasses.replace(blank(), weight=7.0)
    assert weigher(alone())(segment).weight == 1.0


@pytest.mark.parametrize(
    ("words", "change"),
    [
        (["--no-use-proper-time-limits", "--no-scale-rewards"], "terminated"),
        (["--use-proper-time-limits", "--scale-rewards"], "rewards"),
        (["--use-proper-time-limits", "--no-scale-rewards"], None),
    ],
)
def test_the_flags_say_what_is_done(tmp_path, words, change):
    trainer = make_trainer(bandit_task(tmp_path, *words))
    segment = trainer.actor.play()
    segment.terminated.fill_(False)
    segment.truncated.fill_(True)
    segment.rewards.copy_(torch.arange(segment.rewards.numel()).view(segment.rewards.shape))
    before = {name: getattr(segment, name).clone() for name in ("terminated", "rewards")}
    after = trainer.prepare(segment)
    for name, old in before.items():
        assert torch.equal(getattr(after, name), old) == (name != change)
