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

    def sample(self, logits: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """One action [...] and its log-probability [...] for logits [..., A]."""
        log_probs = logits.log_softmax(-1)
        # argmax(p / e) with e ~ Exp(1) is a draw from p: what torch.multinomial does, without its checks.
        noise = torch.empty_like(log_probs).exponential_(generator=generator)
        actions = (log_probs.exp() / noise).argmax(-1, keepdim=True)
        return actions.squeeze(-1), log_probs.gather(-1, actions).squeeze(-1)

    def mode(self, logits: Tensor) -> Tensor:
        """The most probable action [...]."""
        return logits.argmax(-1)

    def log_prob_and_entropy(self, logits: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """log π(a|s) [...] and H(π(·|s)) [...] in nats."""
        log_probs = logits.log_softmax(-1)
        entropy = -(log_probs.exp() * log_probs).sum(-1)
        return log_probs.gather(-1, actions.unsqueeze(-1)).squeeze(-1), entropy
