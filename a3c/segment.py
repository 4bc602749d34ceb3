"""What the actor hands to the algorithm: as many steps of each of several environments."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from a3c.recording import Recording
from a3c.returns import generalized_advantages


@dataclass(frozen=True, kw_only=True)
class Segment:
    """T steps of B environments; time first. Episodes may begin and end anywhere inside it.

    `terminated` and `truncated` are never both true, and never merged: the successor of a terminated step is worth 0, the
    successor of a truncated one is worth V of the final observation, which `next_values` already holds.
    """

    observations: Tensor  # [T, B, *observation], as the environments gave them
    starts: Tensor  # [T, B] bool: observation t is the first of its episode, so the recurrent state before it is zero
    state: Tensor  # [B, S] recurrent state before step 0
    actions: Tensor  # [T, B, *action]
    log_probs: Tensor  # [T, B] log π(a_t|s_t) when acted
    values: Tensor  # [T, B] V(s_t) when acted
    rewards: Tensor  # [T, B]
    terminated: Tensor  # [T, B] bool
    truncated: Tensor  # [T, B] bool
    next_values: Tensor  # [T, B] V of the state that step t led to, before any reset
    recording: Recording | None = None  # what the network's layers gave when acted

    @classmethod
    def seen(
        cls,
        *,
        observations: Tensor,
        starts: Tensor,
        state: Tensor,
        actions: Tensor,
        recording: Recording | None = None,
    ) -> "Segment":
        """What a network sees of a segment, with zeros for all that it does not see."""
        zeros, never = torch.zeros(starts.shape), torch.zeros_like(starts)
        return cls(
            observations=observations,
            starts=starts,
            state=state,
            actions=actions,
            log_probs=zeros,
            values=zeros,
            rewards=zeros,
            terminated=never,
            truncated=never,
            next_values=zeros,
            recording=recording,
        )

    def advantages(self, *, gamma: float, gae_lambda: float) -> Tensor:
        """Generalized advantages [T, B] of the values that were acted with."""
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
        """Takes truncated episodes for terminated ones, in place."""
        self.terminated.logical_or_(self.truncated)
        self.truncated.zero_()

    @property
    def recurrent(self) -> bool:
        """Whether the network that acted carries a state from step to step."""
        return self.state.shape[1] > 0

    def flat(self) -> "Segment":
        """The same steps as one step of T * B environments, without the recording; for networks that carry no state."""
        assert not self.recurrent
        steps = {name: value.flatten(0, 1).unsqueeze(0) for name, value in self._columns().items()}
        return Segment(**steps, state=self.state.new_zeros(self.rewards.numel(), 0))

    def first(self, num_steps: int) -> "Segment":
        """A view of the first steps; without the recording, unless these are all."""
        if num_steps == len(self.rewards):
            return self
        return Segment(
            **{name: value[:num_steps] for name, value in self._columns().items()}, state=self.state
        )

    def of(self, environments: Tensor) -> "Segment":
        """The steps of some environments, by their numbers, without the recording."""
        columns: dict[str, Any] = {
            name: _at(value, environments) for name, value in self._columns().items()
        }
        return Segment(**columns, state=self.state[environments])

    def split(self, sizes: list[int]) -> Iterator["Segment"]:
        """Views of the first so many environments, of the next ones, and so on, without the recording."""
        columns = self._columns()
        pieces = zip(*(torch.split(value, sizes, 1) for value in columns.values()), strict=True)
        for piece, state in zip(pieces, torch.split(self.state, sizes), strict=True):
            yield Segment(**dict(zip(columns, piece, strict=True)), state=state)

    def tensors(self) -> list[Tensor]:
        """All of it but the recording."""
        return [*self._columns().values(), self.state]

    @classmethod
    def from_tensors(cls, tensors: Sequence[Tensor]) -> "Segment":
        """The segment whose `tensors` these are."""
        names = [field.name for field in fields(cls) if field.name not in ("state", "recording")]
        columns: dict[str, Any] = dict(zip([*names, "state"], tensors, strict=True))
        return cls(**columns)

    def _columns(self) -> dict[str, Any]:
        return {
            name: value for name, value in vars(self).items() if name not in ("state", "recording")
        }

    def __post_init__(self) -> None:
        T, B = self.rewards.shape
        for name in ("starts", "log_probs", "values", "terminated", "truncated", "next_values"):
            assert getattr(self, name).shape == (T, B), f"{name} must be [T, B] = [{T}, {B}]"
        assert self.observations.shape[:2] == (T, B) and self.actions.shape[:2] == (T, B)
        assert self.state.shape[0] == B


def _at(values: Tensor, environments: Tensor) -> Tensor:
    """values[:, environments], laid out as `values` are."""
    if values.dim() != 5 or len(values) > 1:
        return values[:, environments]
    # Whole images are copied ten times as fast as one pixel after another, which is what indexing does when channels come last.
    N, C, H, W = values.shape[1:]
    images = values[0].permute(0, 2, 3, 1).reshape(N, -1).index_select(0, environments)
    return images.view(1, -1, H, W, C).permute(0, 1, 4, 2, 3)
