"""Advantages and value targets."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Average = Callable[[Tensor], Tensor]  # [K] -> means [K] over all workers that share a batch


def generalized_advantages(
    *,
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    gae_lambda: float,
) -> Tensor:
    """A_t = δ_t + γλ A_{t+1}, δ_t = r_t + γ V(s_{t+1}) - V(s_t); all [T, B].

    Schulman et al. 2016, eq. 16. The sum stops where an episode is terminated or truncated. Only
    termination makes the successor worth 0.
    """
    T, _ = rewards.shape
    deltas = rewards + gamma * next_values * ~terminated - values
    decay = gamma * gae_lambda * (~(terminated | truncated)).to(deltas.dtype)
    advantages = torch.empty_like(deltas)
    advantage = torch.zeros_like(deltas[0])
    for t in reversed(range(T)):
        advantage = torch.addcmul(deltas[t], decay[t], advantage, out=advantages[t])
    return advantages


def alone(values: Tensor) -> Tensor:
    """Return the values themselves: the `Average` of a worker that shares no batch."""
    return values


def normalized(advantages: Tensor, average: Average = alone, *, weight: float = 1.0) -> Tensor:
    """Return advantages with mean 0 and standard deviation 1 over the batch of all workers.

    Advantages that are all equal become 0. `weight` is that of their segment.
    """
    precise = advantages.double()
    moments = torch.stack([precise.mean(), precise.square().mean()])
    mean, square = average(weight * moments).tolist()
    deviation = math.sqrt(max(0.0, square - mean**2))
    return advantages.sub(mean).div_(deviation + 1e-8)
