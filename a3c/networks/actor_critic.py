"""The actor-critic network: body, optional recurrent core, policy head and critic."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from a3c.networks.bodies import MLP, Body, ImpalaConv, NatureConv, SmallConv
from a3c.networks.cores import CORES
from a3c.networks.heads import Head
from a3c.networks.layers import Linear, normalized_rows_


class Step(NamedTuple):
    """Outputs of a network for one step of B environments."""

    policy: Tensor  # [B, A], parameters of the head's distribution
    values: Tensor  # [B]
    state: Tensor  # [B, S], the recurrent state for the next step


class Unrolled(NamedTuple):
    """Outputs of a network for T steps of B environments."""

    policy: Tensor  # [T, B, A]
    values: Tensor  # [T, B]
    auxiliary: Mapping[str, Tensor]  # name of an auxiliary output -> [T, B, size]


class Network(Protocol):
    """π(a|s) and V(s), for one step and for many.

    `ActorCritic` is one, and so is `FastActorCritic` of `fast/`.
    """

    head: Head

    def initial_state(self, batch_size: int) -> Tensor:
        """Return the recurrent state [B, S] at the start of an episode."""

    def step(self, observations: Tensor, state: Tensor) -> Step:
        """Take one step: observations [B, ...] and state [B, S]."""

    def unroll(self, observations: Tensor, state: Tensor, starts: Tensor) -> Unrolled:
        """Take T steps, with gradients: observations [T, B, ...], state [B, S], starts [T, B]."""


@dataclass(frozen=True, kw_only=True)
class AuxiliaryOutput:
    """A linear layer over the features at some depth of the network."""

    name: str
    side: str  # whose layers it follows: "shared" by actor and critic, "actor" or "critic"
    depth: int  # number of that side's layers below it; -1: all, the only choice for convolutions
    size: int  # how many numbers it gives


class ActorCritic(nn.Module):
    """π(a|s) and V(s) over one body.

    `step` and `unroll` take raw observations. The first layer scales them to
    (x - observation_mean) * observation_inverse_std and clips them. A copy of the model's tensors
    therefore always acts with the scaling that it was trained with.
    """

    observation_mean: Tensor
    observation_inverse_std: Tensor

    def __init__(
        self,
        *,
        observation_shape: tuple[int, ...],
        head: Head,
        recurrent: str = "none",
        activation: str = "relu",
        num_layers: int = 2,
        num_shared_layers: int = 2,
        hidden_size: int = 256,
        observation_clip: float | None = None,
        network: str = "auto",
        precision: torch.dtype = torch.float32,
        auxiliary_outputs: Sequence[AuxiliaryOutput] = (),
    ) -> None:
        """Draw all parameters from torch's global generator.

        `network`: "auto" by the observation shape, "narrow" for fewer channels at 84x84, or
        "impala" for its convolutions.

        `recurrent`: "none", or a core "lstm" or "gru" with `hidden_size` units.

        `num_layers` is for vector observations. Actor and critic share the first
        `num_shared_layers` of them. The core follows the shared layers. The remaining layers come
        after the core, once for the actor and once for the critic. Convolutions are always shared.

        `precision` is the type in which `unroll` convolves images. Parameters, `step` and
        everything else are float32.

        `auxiliary_outputs` are computed by `unroll` only.

        ValueError for an observation shape that no body takes, or an output at a depth that does
        not exist.
        """
        super().__init__()
        self.observation_shape = observation_shape
        statistics_shape = observation_shape if len(observation_shape) == 1 else (1,)
        self.register_buffer("observation_mean", torch.zeros(statistics_shape), persistent=False)
        self.register_buffer(
            "observation_inverse_std", torch.ones(statistics_shape), persistent=False
        )
        self.observation_clip, self.precision = observation_clip, precision
        shared = min(num_shared_layers, num_layers)
        options: dict[str, Any] = {"activation": activation, "hidden_size": hidden_size}
        self.body = _body(observation_shape, network=network, num_layers=shared, **options)
        self.core = None
        if recurrent != "none":
            self.core = CORES[recurrent](self.body.output_size, hidden_size)
        features = self.core.output_size if self.core else self.body.output_size
        own = num_layers - shared if isinstance(self.body, MLP) else 0
        self.actor_body, self.critic_body = (
            MLP((features,), num_layers=own, **options) for _ in range(2)
        )
        self.head = head
        self.actor = Linear(self.actor_body.output_size, head.num_parameters)
        self.critic = Linear(self.critic_body.output_size, 1)
        normalized_rows_(self.actor, 0.01)
        normalized_rows_(self.critic, 1.0)
        self.auxiliary_outputs = tuple(auxiliary_outputs)
        self.auxiliary = nn.ModuleDict(
            {output.name: self._auxiliary_layer(output) for output in auxiliary_outputs}
        )

    def initial_state(self, batch_size: int) -> Tensor:
        """Return zeros [B, S]; S is 0 without a recurrent core."""
        size = self.core.state_size if self.core else 0
        return self.critic.weight.new_zeros(batch_size, size, requires_grad=False)

    def step(self, observations: Tensor, state: Tensor) -> Step:
        """Take one step: observations [B, ...], state [B, S]."""
        features = self.body(self.scaled(observations, torch.float32))
        if self.core is not None:
            features, state = self.core.step(features, state)
        policy = self.actor(self.actor_body(features))
        values = self.critic(self.critic_body(features)).squeeze(-1)
        return Step(policy, values, state)

    def unroll(self, observations: Tensor, state: Tensor, starts: Tensor) -> Unrolled:
        """Take T steps, with gradients: observations [T, B, ...], state [B, S], starts [T, B] bool.

        An episode begins where `starts` is true; the state before that step is taken to be zero.
        """
        T, B = starts.shape
        x = self.scaled(observations.flatten(0, 1), self.precision)
        shared = [depth.float() for depth in self.body.depths(x)]
        features = shared[-1]
        if self.core is not None:
            features = self.core.unroll(features.view(T, B, -1), state, starts).flatten(0, 1)
        actor, critic = self.actor_body.depths(features), self.critic_body.depths(features)
        policy, values = self.actor(actor[-1]), self.critic(critic[-1])
        depths = {"shared": shared, "actor": actor, "critic": critic}
        return Unrolled(
            policy.view(T, B, -1), values.view(T, B), self.auxiliary_values(depths, (T, B))
        )

    def auxiliary_values(
        self, depths: Mapping[str, Sequence[Tensor]], shape: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Return the auxiliary outputs [*shape, size]; `depths` are each side's layer outputs."""
        return {
            output.name: self.auxiliary[output.name](depths[output.side][output.depth]).view(
                *shape, -1
            )
            for output in self.auxiliary_outputs
        }

    def set_scaling(self, mean: Tensor, std: Tensor) -> None:
        """Take over the mean and the standard deviation of observations, [D] or [1] each."""
        self.observation_mean.copy_(mean)
        self.observation_inverse_std.copy_(1 / std)

    def scaled(self, observations: Tensor, precision: torch.dtype) -> Tensor:
        """Return scaled observations [N, ...]; images in `precision`, vectors in float32."""
        images = observations.dim() == 4
        # Request channels_last explicitly. An image of a single channel would otherwise count as
        # contiguous, the first layer's output would have another layout than its gradient, and
        # converting between the two takes longer than the layer itself.
        x = torch.empty(
            observations.shape,
            dtype=precision if images else torch.float32,
            device=observations.device,
            memory_format=torch.channels_last if images else torch.contiguous_format,
        )
        # An image has one mean for all pixels. As a scalar it keeps float32 precision and leaves
        # the type of x unchanged.
        x.copy_(observations).sub_(self.observation_mean.squeeze())
        x.mul_(self.observation_inverse_std.squeeze())
        clip = self.observation_clip
        return x if clip is None else x.clamp_(-clip, clip)

    def _auxiliary_layer(self, output: AuxiliaryOutput) -> Linear:
        bodies: dict[str, Body] = {
            "shared": self.body,
            "actor": self.actor_body,
            "critic": self.critic_body,
        }
        body = bodies.get(output.side)
        deepest = -1 if body is None else body.deepest
        if body is None or not -1 <= output.depth <= deepest:
            raise ValueError(
                f"auxiliary head {output.name!r} is at depth {output.depth} of side "
                f"{output.side!r}; sides are {', '.join(bodies)}, and depths there go from -1 "
                f"(all layers) to {deepest}"
            )
        layer = Linear(body.sizes[output.depth], output.size)
        normalized_rows_(layer, 1.0)
        return layer


def _body(
    observation_shape: tuple[int, ...],
    *,
    network: str,
    activation: str,
    num_layers: int,
    hidden_size: int,
) -> Body:
    options: dict[str, Any] = {"activation": activation, "hidden_size": hidden_size}
    if network == "impala" and len(observation_shape) == 3:
        return ImpalaConv(observation_shape, **options)
    match observation_shape:
        case (_,):
            return MLP(observation_shape, num_layers=num_layers, **options)
        case (1, 42, 42):  # no layer of `hidden_size`: a recurrent core usually follows
            return SmallConv(observation_shape, activation=activation)
        case (_, 42, 42):
            return SmallConv(observation_shape, **options)
        case (_, 84, 84):
            last_channels = 32 if network == "narrow" else 64
            return NatureConv(observation_shape, last_channels=last_channels, **options)
    raise ValueError(
        f"no network takes observations of shape {observation_shape}; "
        "give (D,), (C, 42, 42) or (C, 84, 84)"
    )
