"""The actor-critic network: body, optional recurrent core, policy head and critic."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from a3c.auxiliary import AuxiliaryHead
from a3c.bodies import MLP, ImpalaConv, NatureConv, SmallConv, normalized_rows_
from a3c.capture import Capture
from a3c.heads import Head
from a3c.kernels import Scaling
from a3c.recording import COMPUTING, Computing, Layers
from a3c.recurrent import CORES
from a3c.segment import Segment


class ActorCritic(nn.Module):
    """π(a|s) and V(s) over one body. `step` is for acting, `unroll` is a whole segment with gradients.

    Observations arrive raw; (x - observation_mean) * observation_inverse_std, clipped, is the network's first layer, so whoever
    holds the model's tensors plays with the scaling it was trained with.
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
        auxiliary_heads: Sequence[AuxiliaryHead] = (),
    ) -> None:
        """`network`: "narrow" for fewer channels at 84x84, "impala" for its convolutions, or "auto".

        `recurrent`: "none", or "lstm" or "gru" with `hidden_size` units.

        Of the `num_layers` for vector observations actor and critic share the first `num_shared_layers`; the core comes after
        these, and each of the two has the rest for itself. Convolutions are always shared.

        `precision` is that in which `unroll`, and an actor's recording, convolve images; parameters and all else are float32.

        `auxiliary_heads` are computed by `unroll` only. ValueError for an observation shape that no body takes, or for a head
        at a depth that there is not.
        """
        super().__init__()
        self.observation_shape = observation_shape
        statistics_shape = observation_shape if len(observation_shape) == 1 else (1,)
        self.register_buffer("observation_mean", torch.zeros(statistics_shape), persistent=False)
        self.register_buffer(
            "observation_inverse_std", torch.ones(statistics_shape), persistent=False
        )
        self._observation_clip, self.precision = observation_clip, precision
        shared = min(num_shared_layers, num_layers)
        options: dict[str, Any] = {"activation": activation, "hidden_size": hidden_size}
        self.body = _body(observation_shape, network=network, num_layers=shared, **options)
        self.core = (
            None if recurrent == "none" else CORES[recurrent](self.body.output_size, hidden_size)
        )
        features = self.core.output_size if self.core else self.body.output_size
        own = num_layers - shared if isinstance(self.body, MLP) else 0
        self.actor_body, self.critic_body = (
            MLP((features,), activation=activation, num_layers=own, hidden_size=hidden_size)
            for _ in range(2)
        )
        self.head = head
        self.actor = nn.Linear(self.actor_body.output_size, head.num_parameters)
        self.critic = nn.Linear(self.critic_body.output_size, 1)
        normalized_rows_(self.actor, 0.01)
        normalized_rows_(self.critic, 1.0)
        self._auxiliary_heads = tuple(auxiliary_heads)
        self.auxiliary = nn.ModuleDict(
            {head.name: self._auxiliary_layer(head) for head in auxiliary_heads}
        )
        self._auxiliary_outputs: dict[str, Tensor] = {}

    def initial_state(self, batch_size: int) -> Tensor:
        """Zeros [B, S]; S is 0 without a recurrent core."""
        return torch.zeros(batch_size, self.core.state_size if self.core else 0)

    def step(
        self, observations: Tensor, state: Tensor, layers: Layers = COMPUTING
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step: observations [B, ...], state [B, S] -> policy [B, A], values [B], next state [B, S]."""
        features = self.body(layers.input(observations, self._scaling), layers)
        if self.core is not None:
            features, state = self.core.step(features, state, layers)
        policy, values = self._heads(
            self.actor_body(features, layers), self.critic_body(features, layers), layers
        )
        return policy, values, state

    def unroll(self, segment: Segment, capture: Capture | None = None) -> tuple[Tensor, Tensor]:
        """The segment's T steps again, with gradients: policy [T, B, A], values [T, B].

        Nothing is computed that the segment's recording still holds. With a `capture` everything is, and gradients reach
        what it keeps only.
        """
        T, B = segment.starts.shape
        computing = Computing(self.precision)
        layers: Layers = capture or (
            computing if segment.recording is None else segment.recording.replay()
        )
        shared = _depths(
            self.body, layers.input(segment.observations.flatten(0, 1), self._scaling), layers
        )
        features = shared[-1]
        if self.core is not None:
            features = self.core.unroll(
                features.view(T, B, -1), segment.state, segment.starts, layers
            ).flatten(0, 1)
        actor, critic = (
            self.actor_body.depths(features, layers),
            self.critic_body.depths(features, layers),
        )
        policy, values = self._heads(actor[-1], critic[-1], layers)
        sides = {"shared": shared, "actor": actor, "critic": critic}
        self._auxiliary_outputs = {
            head.name: self.auxiliary[head.name](sides[head.side][head.depth]).view(T, B, -1)
            for head in self._auxiliary_heads
        }
        return policy.view(T, B, -1), values.view(T, B)

    @property
    def _scaling(self) -> Scaling:
        return Scaling(self.observation_mean, self.observation_inverse_std, self._observation_clip)

    def auxiliary_loss(self, segment: Segment) -> Tensor:
        """The sum of the auxiliary heads' losses for the segment that was unrolled last."""
        losses = [
            head.loss(self._auxiliary_outputs[head.name], segment) for head in self._auxiliary_heads
        ]
        return torch.stack(losses).sum() if losses else torch.zeros(())

    def _heads(self, actor: Tensor, critic: Tensor, layers: Layers) -> tuple[Tensor, Tensor]:
        return layers.layer(self.actor, None, actor), layers.layer(
            self.critic, None, critic
        ).squeeze(-1)

    def _auxiliary_layer(self, head: AuxiliaryHead) -> nn.Linear:
        bodies = {"shared": self.body, "actor": self.actor_body, "critic": self.critic_body}
        body = bodies.get(head.side)
        depth = len(body.layers) if isinstance(body, MLP) else -1
        if body is None or not -1 <= head.depth <= depth:
            raise ValueError(
                f"auxiliary head {head.name!r} is at depth {head.depth} of side {head.side!r}; "
                f"sides are {', '.join(bodies)}, and depths there go from -1 (all layers) to {depth}"
            )
        layer = nn.Linear(
            body.sizes[head.depth] if isinstance(body, MLP) else body.output_size, head.size
        )
        normalized_rows_(layer, 1.0)
        return layer


def _depths(body: nn.Module, x: Tensor, layers: Layers) -> list[Tensor]:
    return body.depths(x, layers) if isinstance(body, MLP) else [body(x, layers)]


def _body(
    observation_shape: tuple[int, ...],
    *,
    network: str,
    activation: str,
    num_layers: int,
    hidden_size: int,
) -> SmallConv | NatureConv | ImpalaConv | MLP:
    if network == "impala" and len(observation_shape) == 3:
        return ImpalaConv(observation_shape, activation=activation, hidden_size=hidden_size)
    match observation_shape:
        case (_,):
            return MLP(
                observation_shape,
                activation=activation,
                num_layers=num_layers,
                hidden_size=hidden_size,
            )
        case (channels, 42, 42):  # after a single frame comes a core, for who wants such a layer
            return SmallConv(
                observation_shape,
                activation=activation,
                hidden_size=hidden_size if channels > 1 else None,
            )
        case (_, 84, 84):
            last = 32 if network == "narrow" else 64
            return NatureConv(
                observation_shape,
                activation=activation,
                hidden_size=hidden_size,
                last_channels=last,
            )
    raise ValueError(
        f"no network takes observations of shape {observation_shape}; give (D,), (C, 42, 42) or (C, 84, 84)"
    )
