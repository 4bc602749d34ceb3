"""From a configuration to a network."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from a3c.auxiliary import AuxiliaryHead
from a3c.networks.actor_critic import ActorCritic
from a3c.networks.heads import Categorical, DiagonalGaussian, Head, MultiCategorical
from a3c.segment import Segment
from envs.ids import STACKS
from envs.reasons import reason
from workers.settings.config import Config
from workers.settings.errors import UsageError


@dataclass(frozen=True)
class Spaces:
    """What a network must know of an environment."""

    observation_shape: tuple[int, ...]
    observation: str  # "frame42", "stack42", "stack84", "ram" or "vector"
    num_actions: int  # choices; of a continuous action, its numbers
    continuous: bool = False
    bounded: bool = True  # whether all numbers of a continuous action have bounds
    choices: tuple[int, ...] = ()  # of an action made of several choices, the size of each

    @property
    def num_statistics(self) -> int:
        """How many (mean, M2) pairs the normaliser keeps.

        It is one for all pixels of an image, and one for each element of a vector.
        """
        return self.observation_shape[0] if len(self.observation_shape) == 1 else 1

    @property
    def normalised(self) -> bool:
        """Whether running statistics scale observations; stacks of frames are divided by 255."""
        return self.observation not in STACKS


def build_model(config: Config, spaces: Spaces) -> ActorCritic:
    """Build the network, with parameters drawn from torch's global generator."""
    model = ActorCritic(
        observation_shape=spaces.observation_shape,
        head=_build_head(config, spaces),
        recurrent=config.recurrent,
        activation=config.activation,
        num_layers=config.num_layers,
        num_shared_layers=config.num_shared_layers,
        hidden_size=config.hidden_size,
        observation_clip=10.0 if len(spaces.observation_shape) == 1 else None,
        network=config.network,
        precision=getattr(torch, config.precision),
        auxiliary_outputs=auxiliary_heads(config, spaces),
    )
    if not spaces.normalised:
        model.observation_inverse_std.fill_(1 / 255)
    return model


def auxiliary_heads(config: Config, spaces: Spaces) -> Sequence[AuxiliaryHead]:
    """Return the heads that --auxiliary-heads names. UsageError if it names no function."""
    name = config.auxiliary_heads
    if name is None:
        return ()
    module, _, function = name.partition(":")
    try:
        found: Sequence[AuxiliaryHead] = getattr(importlib.import_module(module), function)(spaces)
    except (ImportError, AttributeError) as problem:
        raise UsageError(
            f"--auxiliary-heads {name} is not a function module:function ({reason(problem)})"
        ) from None
    return found


def blank_segment(model: ActorCritic, shape: tuple[int, int]) -> Segment:
    """Return a segment [T, B] of zeros that the network takes."""
    head = model.head
    return Segment.seen(
        observations=torch.zeros(*shape, *model.observation_shape),
        starts=torch.zeros(shape, dtype=torch.bool),
        state=model.initial_state(shape[1]),
        actions=torch.zeros(*shape, *head.action_shape, dtype=head.action_dtype),
    )


def _build_head(config: Config, spaces: Spaces) -> Head:
    if spaces.choices:
        return MultiCategorical(spaces.choices)
    if not spaces.continuous:
        return Categorical(spaces.num_actions)
    return DiagonalGaussian(
        spaces.num_actions,
        initial_log_std=config.initial_log_std,
        state_dependent_std=config.state_dependent_std,
        bounds=None if not spaces.bounded else "squash" if config.squash_actions else "clip",
    )
