"""Advantages and value targets."""

import torch
from torch import Tensor


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
    """A_t = δ_t + γλ A_{t+1}, δ_t = r_t + γ V(s_{t+1}) - V(s_t); all [T, B]. Schulman et al. 2016, eq. 16.

    The sum stops where an episode ends, either way; only termination makes the successor worthless.
    """
    T, _ = rewards.shape
    deltas = rewards + gamma * next_values * ~terminated - values
    decay = gamma * gae_lambda * (~(terminated | truncated)).to(deltas.dtype)
    advantages = torch.empty_like(deltas)
    advantage = torch.zeros_like(deltas[0])
    for t in reversed(range(T)):
        advantage = torch.addcmul(deltas[t], decay[t], advantage, out=advantages[t])
    return advantages


def normalized(advantages: Tensor) -> Tensor:
    """The same with mean 0 and standard deviation 1, or all 0 if they do not differ."""
    return (advantages - advantages.mean()) / (advantages.std(correction=0) + 1e-8)
