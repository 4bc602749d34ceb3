"""What the actor hands to the algorithm: T steps of each of B environments."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from a3c.returns import generalized_advantages


@dataclass(frozen=True, kw_only=True)
class Segment:
    """T steps of B environments, time first. Episodes may begin and end anywhere inside it.

    `terminated` and `truncated` are never both true. The successor of a terminated step is worth 0.
    The successor of a truncated step is worth V of the final observation, which `next_values`
    already holds.
    """

    observations: Tensor  # [T, B, *observation], as the environments gave them
    starts: Tensor  # [T, B] bool: observation t is the first of its episode
    state: Tensor  # [B, S] recurrent state before step 0
    actions: Tensor  # [T, B, *action]
    log_probs: Tensor  # [T, B] log π(a_t|s_t) when acted
    values: Tensor  # [T, B] V(s_t) when acted
    rewards: Tensor  # [T, B]
    terminated: Tensor  # [T, B] bool
    truncated: Tensor  # [T, B] bool
    next_values: Tensor  # [T, B] V of the state that step t led to, before any reset
    # Factor of a mean over these steps before the means of all workers are averaged: number of
    # steps / mean number of steps of a worker.
    weight: float = 1.0

    @classmethod
    def seen(
        cls, *, observations: Tensor, starts: Tensor, state: Tensor, actions: Tensor
    ) -> "Segment":
        """Make a segment from what a network sees and does; all else is zero."""
        zeros, never = torch.zeros(starts.shape), torch.zeros_like(starts)
        return cls(
            observations=observations,
            starts=starts,
            state=state,
            actions=actions,
            log_probs=zeros,
            values=zeros.clone(),
            rewards=zeros.clone(),
            terminated=never,
            truncated=never.clone(),
            next_values=zeros.clone(),
        )

    def advantages(self, *, gamma: float, gae_lambda: float) -> Tensor:
        """Return generalized advantages [T, B] by the values when acted."""
        return generalized_advantages(
            rewards=self.rewards,
            values=self.values,
            next_values=self.next_values,
            terminated=self.terminated,
            truncated=self.truncated,
            gamma=gamma,
            gae_lambda=gae_lambda,
        )

    def end_truncated_(self) -> None:
        """Turn truncated episodes into terminated ones, in place."""
        self.terminated.logical_or_(self.truncated)
        self.truncated.zero_()

    @property
    def recurrent(self) -> bool:
        """Whether the network that acted carries a state from step to step."""
        return self.state.shape[1] > 0

    def flat(self) -> "Segment":
        """Return the same steps as one step of T * B environments; only without a state."""
        assert not self.recurrent
        steps = {name: value.flatten(0, 1).unsqueeze(0) for name, value in self._columns().items()}
        state = self.state.new_zeros(self.rewards.numel(), 0)
        return Segment(**steps, state=state, weight=self.weight)

    def first(self, num_steps: int) -> "Segment":
        """Return a view of the first `num_steps` steps."""
        if num_steps == len(self.rewards):
            return self
        steps = {name: value[:num_steps] for name, value in self._columns().items()}
        return Segment(**steps, state=self.state, weight=self.weight)

    def of(self, environments: Tensor) -> "Segment":
        """Return a copy of the steps of some environments, whose numbers are [N]."""
        columns: dict[str, Any] = {
            name: _at(value, environments) for name, value in self._columns().items()
        }
        return Segment(**columns, state=self.state[environments], weight=self.weight)

    def split(self, sizes: list[int]) -> Iterator["Segment"]:
        """Yield views of consecutive groups of environments, of the given sizes."""
        columns = self._columns()
        pieces = zip(*(torch.split(value, sizes, 1) for value in columns.values()), strict=True)
        for piece, state in zip(pieces, torch.split(self.state, sizes), strict=True):
            steps: dict[str, Any] = dict(zip(columns, piece, strict=True))
            yield Segment(**steps, state=state, weight=self.weight)

    def tensors(self) -> list[Tensor]:
        """Return all tensors of the segment, the state last."""
        return [*self._columns().values(), self.state]

    @classmethod
    def from_tensors(cls, tensors: Sequence[Tensor]) -> "Segment":
        """Make a segment from what `tensors` returned; its weight is 1."""
        names = [field.name for field in fields(cls) if field.name not in _NOT_COLUMNS]
        columns: dict[str, Any] = dict(zip([*names, "state"], tensors, strict=True))
        return cls(**columns)

    def _columns(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _NOT_COLUMNS}

    def __post_init__(self) -> None:
        T, B = self.rewards.shape
        for name in ("starts", "log_probs", "values", "terminated", "truncated", "next_values"):
            assert getattr(self, name).shape == (T, B), f"{name} must be [T, B] = [{T}, {B}]"
        assert self.observations.shape[:2] == (T, B) and self.actions.shape[:2] == (T, B)
        assert self.state.shape[0] == B


_NOT_COLUMNS = ("state", "weight")


def _at(values: Tensor, environments: Tensor) -> Tensor:
    """Return values[:, environments] in the memory layout of `values`."""
    if values.dim() != 5 or len(values) > 1:
        return values[:, environments]
    # Indexing copies channels_last images pixel by pixel. Copying whole images as rows of bytes is
    # ten times as fast.
    N, C, H, W = values.shape[1:]
    images = values[0].permute(0, 2, 3, 1).reshape(N, -1).index_select(0, environments)
    return images.view(1, -1, H, W, C).permute(0, 1, 4, 2, 3)
