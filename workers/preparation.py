"""Preparations: what is done to every segment before an algorithm learns from it."""

import dataclasses
from collections.abc import Callable

import torch

from a3c.segment import Segment
from envs.normaliser import RewardScale
from shared_optim.exchange import Exchange

Preparation = Callable[[Segment], Segment]


def end_truncated(segment: Segment) -> Segment:
    """Take truncated episodes for terminated ones, in place."""
    segment.end_truncated_()
    return segment


def weigher(exchange: Exchange) -> Preparation:
    """Return the preparation that sets a segment's weight: its length over the workers' mean.

    It is for segments whose lengths differ from one to the next.
    """

    def weigh(segment: Segment) -> Segment:
        num_steps = torch.tensor([len(segment.rewards)], dtype=torch.float64)
        weight = float(num_steps / exchange.average(num_steps))
        return dataclasses.replace(segment, weight=weight)

    return weigh


def reward_scaler(scale: RewardScale, exchange: Exchange) -> Preparation:
    """Return the preparation that divides rewards, in place, by the deviation of their sums.

    Before that, the rewards of all workers are added to the statistics of these discounted sums.
    """

    def scale_rewards(segment: Segment) -> Segment:
        ended = segment.terminated | segment.truncated
        scale.update(segment.rewards.numpy(), ended=ended.numpy())
        exchange.meet()
        scale.apply(segment.rewards.numpy())
        return segment

    return scale_rewards


def ignore_faulty(segment: Segment) -> Segment:
    """Give the faulty steps, whose reward is NaN, an advantage of 0, in place.

    They end their episodes and earn what the critic expected. The steps before them learn from that
    value, as those before a time limit do.
    """
    faulty = segment.rewards.isnan()
    if faulty.any():
        segment.terminated[faulty], segment.truncated[faulty] = True, False
        segment.rewards[faulty] = segment.values[faulty]
    return segment
