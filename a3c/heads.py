"""Policy heads: what the last layer's numbers mean as a distribution over actions."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor


@dataclass(frozen=True)
class Categorical:
    """π(a|s) = softmax(logits)_a over `num_actions` actions; actions are int64 without a trailing axis."""

    num_actions: int

    @property
    def num_parameters(self) -> int:
        """How many numbers the last layer gives per state."""
        return self.num_actions

    def noise(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """Standard Gumbel noise [*shape, A], which `sample` turns into actions; one draw can serve many steps."""
        return torch.empty(*shape, self.num_actions).exponential_(generator=generator).log_().neg_()

    def sample(self, logits: Tensor, noise: Tensor) -> Tensor:
        """Actions [...] drawn from softmax(logits): argmax_a (logit_a + noise_a). Gumbel 1954; logits and noise [..., A]."""
        return (logits + noise).argmax(-1)

    def mode(self, logits: Tensor) -> Tensor:
        """The most probable action [...]."""
        return logits.argmax(-1)

    def log_prob_and_entropy(self, logits: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """log π(a|s) [...] and H(π(·|s)) [...] in nats."""
        log_probs = logits.log_softmax(-1)
        entropy = -(log_probs.exp() * log_probs).sum(-1)
        return log_probs.gather(-1, actions.unsqueeze(-1)).squeeze(-1), entropy
