"""The actor-critic network: body, optional recurrent core, policy head and critic."""

import torch
from torch import Generator, Tensor, nn

from a3c.bodies import MLP, NatureConv, SmallConv, normalized_rows_
from a3c.heads import Categorical
from a3c.recurrent import LSTM


class ActorCritic(nn.Module):
    """π(a|s) and V(s) over one body. `act` is a step without gradients, `unroll` the same steps over again with them.

    Observations arrive raw; (x - observation_mean) * observation_inverse_std, clipped, is the network's first layer, so whoever
    holds the model's tensors plays with the scaling it was trained with.
    """

    observation_mean: Tensor
    observation_inverse_std: Tensor

    def __init__(
        self,
        *,
        observation_shape: tuple[int, ...],
        head: Categorical,
        recurrent: str = "none",
        activation: str = "relu",
        num_layers: int = 2,
        hidden_size: int = 256,
        observation_clip: float | None = None,
    ) -> None:
        """`recurrent`: "none" or "lstm" with `hidden_size` units; `num_layers` is for vector observations.

        ValueError for an observation shape that no body takes.
        """
        super().__init__()
        self.observation_shape = observation_shape
        self.observation_clip = observation_clip
        statistics_shape = observation_shape if len(observation_shape) == 1 else (1,)
        self.register_buffer("observation_mean", torch.zeros(statistics_shape), persistent=False)
        self.register_buffer("observation_inverse_std", torch.ones(statistics_shape), persistent=False)
        self.body = _body(observation_shape, activation=activation, num_layers=num_layers, hidden_size=hidden_size)
        self.core = LSTM(self.body.output_size, hidden_size) if recurrent == "lstm" else None
        features = self.core.output_size if self.core else self.body.output_size
        self.head = head
        self.actor = nn.Linear(features, head.num_parameters)
        self.critic = nn.Linear(features, 1)
        normalized_rows_(self.actor, 0.01)
        normalized_rows_(self.critic, 1.0)

    def initial_state(self, batch_size: int) -> Tensor:
        """Zeros [B, S]; S is 0 without a recurrent core."""
        return torch.zeros(batch_size, self.core.state_size if self.core else 0)

    def _features(self, observations: Tensor) -> Tensor:
        # A copy into channels_last memory: a single channel left as it is would pass for contiguous, and the first layer's
        # output would then lie the other way round than its gradient, which costs more than the layer itself.
        layout = torch.channels_last if observations.dim() == 4 else torch.contiguous_format
        x = torch.empty_like(observations, dtype=torch.float32, memory_format=layout).copy_(observations)
        x.sub_(self.observation_mean).mul_(self.observation_inverse_std)
        if self.observation_clip is not None:
            x.clamp_(-self.observation_clip, self.observation_clip)
        features: Tensor = self.body(x)
        return features

    def step(self, observations: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step: observations [B, ...], state [B, S] -> policy [B, A], values [B], next state [B, S]."""
        features = self._features(observations)
        if self.core is not None:
            features, state = self.core.step(features, state)
        return self.actor(features), self.critic(features).squeeze(-1), state

    def act(self, observations: Tensor, state: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Sampled actions [B, ...], their log-probabilities [B], values [B], next state [B, S]."""
        policy, values, state = self.step(observations, state)
        actions, log_probs = self.head.sample(policy, generator)
        return actions, log_probs, values, state

    def unroll(self, observations: Tensor, state: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
        """T steps: observations [T, B, ...], state [B, S], starts [T, B] bool -> policy [T, B, A], values [T, B]."""
        T, B = starts.shape
        features = self._features(observations.flatten(0, 1)).view(T, B, -1)
        if self.core is not None:
            features = self.core.unroll(features, state, starts)
        return self.actor(features), self.critic(features).squeeze(-1)


def _body(
    observation_shape: tuple[int, ...], *, activation: str, num_layers: int, hidden_size: int
) -> SmallConv | NatureConv | MLP:
    match observation_shape:
        case (_,):
            return MLP(observation_shape, activation=activation, num_layers=num_layers, hidden_size=hidden_size)
        case (_, 42, 42):
            return SmallConv(observation_shape, activation=activation)
        case (_, 84, 84):
            return NatureConv(observation_shape, activation=activation, hidden_size=hidden_size)
    raise ValueError(f"no network takes observations of shape {observation_shape}; give (D,), (C, 42, 42) or (C, 84, 84)")
