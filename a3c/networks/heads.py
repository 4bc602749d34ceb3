"""Policy heads: distributions over actions, whose parameters are the last layer's outputs."""

import math

import torch
from torch import Generator, Tensor, nn

# The Fisher matrix of a Gaussian's likelihood by log σ is this number times the identity.
LOG_STD_FISHER = 2.0


class Categorical(nn.Module):
    """π(a|s) = softmax(logits)_a over `num_actions` actions.

    Actions are int64 [...], without a trailing axis.
    """

    action_shape: tuple[int, ...] = ()
    action_dtype = torch.int64

    def __init__(self, num_actions: int) -> None:
        super().__init__()
        self.num_parameters = self.num_actions = num_actions

    def noise(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """Draw standard Gumbel noise [*shape, A] for `sample`; one draw can serve many steps."""
        return _gumbel(*shape, self.num_actions, generator=generator)

    def sample(self, logits: Tensor, noise: Tensor) -> Tensor:
        """Draw actions [...] from softmax(logits): argmax_a (logit_a + noise_a).

        Gumbel 1954; logits and noise [..., A].
        """
        return (logits + noise).argmax(-1)

    def mode(self, logits: Tensor) -> Tensor:
        """Return the most probable action [...]."""
        return logits.argmax(-1)

    def log_prob_and_entropy(self, logits: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return log π(a|s) [...] and H(π(·|s)) [...] in nats."""
        log_probs = logits.log_softmax(-1)
        entropy = -(log_probs.exp() * log_probs).sum(-1)
        return log_probs.gather(-1, actions.unsqueeze(-1)).squeeze(-1), entropy

    def excess(self, logits: Tensor) -> Tensor:
        """Return zero: discrete actions have no bounds."""
        return logits.new_zeros(())

    def to_environment(self, actions: Tensor) -> Tensor:
        """Return what the environment is given: the action's number."""
        return actions


class MultiCategorical(nn.Module):
    """D independent choices at once: π(a|s) = Π_i softmax(logits_i)_{a_i}.

    Actions are int64 [..., D]. Gymnasium's MultiBinary is the case where every choice is between
    two, so this head serves both MultiDiscrete and MultiBinary.
    """

    action_dtype = torch.int64

    def __init__(self, sizes: tuple[int, ...]) -> None:
        """`sizes`: the number of alternatives in each of the D choices."""
        super().__init__()
        self.action_shape = (len(sizes),)
        self.num_parameters = self.num_actions = sum(sizes)
        self._sizes, self._choices = list(sizes), [Categorical(size) for size in sizes]

    def noise(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """Draw standard Gumbel noise [*shape, sum of sizes] for `sample`; see `Categorical`."""
        return _gumbel(*shape, self.num_actions, generator=generator)

    def sample(self, logits: Tensor, noise: Tensor) -> Tensor:
        """Draw actions [..., D], see `Categorical`; logits and noise [..., sum of sizes]."""
        return self.mode(logits + noise)

    def mode(self, logits: Tensor) -> Tensor:
        """Return the most probable action [..., D]."""
        return torch.stack([part.argmax(-1) for part in torch.split(logits, self._sizes, -1)], -1)

    def log_prob_and_entropy(self, logits: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return log π(a|s) [...] and H(π(·|s)) [...] in nats: sums over the choices."""
        parts = zip(
            self._choices, torch.split(logits, self._sizes, -1), actions.unbind(-1), strict=True
        )
        log_probs, entropies = zip(
            *(choice.log_prob_and_entropy(*part) for choice, *part in parts), strict=True
        )
        return torch.stack(log_probs).sum(0), torch.stack(entropies).sum(0)

    def excess(self, logits: Tensor) -> Tensor:
        """Return zero: discrete actions have no bounds."""
        return logits.new_zeros(())

    def to_environment(self, actions: Tensor) -> Tensor:
        """Return what the environment is given: the chosen numbers."""
        return actions


def _gumbel(*shape: int, generator: Generator) -> Tensor:
    return torch.empty(*shape).exponential_(generator=generator).log_().neg_()


class DiagonalGaussian(nn.Module):
    """π(a|s) = N(a; μ(s), diag σ²) over float32 actions a [..., A].

    `bounds` decides what the environment is given. With "clip" it is a clipped to [-1, 1]^A;
    log-probabilities are those of a before clipping. With "squash" it is tanh(a), and
    log-probabilities are densities of tanh(a) (Haarnoja et al. 2018, appendix C); `actions` are
    still a. With None it is a.

    σ is a parameter. With `state_dependent_std` log σ is `initial_log_std` plus further outputs of
    the last layer.
    """

    action_dtype = torch.float32

    def __init__(
        self,
        num_actions: int,
        *,
        initial_log_std: float,
        state_dependent_std: bool,
        bounds: str | None,
    ) -> None:
        super().__init__()
        self.num_actions, self.action_shape = num_actions, (num_actions,)
        self.num_parameters = 2 * num_actions if state_dependent_std else num_actions
        self.state_dependent_std, self.bounds, self._initial_log_std = (
            state_dependent_std,
            bounds,
            initial_log_std,
        )
        if not state_dependent_std:
            self.log_std = nn.Parameter(torch.full((num_actions,), initial_log_std))

    def noise(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """Draw standard normal noise [*shape, A] for `sample`; one draw can serve many steps."""
        return torch.empty(*shape, self.num_actions).normal_(generator=generator)

    def sample(self, policy: Tensor, noise: Tensor) -> Tensor:
        """Return actions μ + σ noise [..., A]; policy [..., num_parameters], noise [..., A]."""
        mean, log_std = self._mean_and_log_std(policy)
        return torch.addcmul(mean, log_std.exp(), noise)

    def mode(self, policy: Tensor) -> Tensor:
        """Return the mean [..., A]; with "squash" its tanh is the median of what is given."""
        return self._mean_and_log_std(policy)[0]

    def log_prob_and_entropy(self, policy: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return log π(a|s) [...] and H(N(μ, σ²)) [...] in nats.

        The entropy is that before squashing, which has a closed form.
        """
        mean, log_std = self._mean_and_log_std(policy)
        z = (actions - mean) * (-log_std).exp()
        constant = 0.5 * self.num_actions * math.log(2 * math.pi)
        total_log_std = log_std.sum(-1)
        log_prob = -0.5 * z.square().sum(-1) - total_log_std - constant
        if self.bounds == "squash":
            # log d tanh(a) / da = log(1 - tanh² a), in a form without cancellation.
            log_prob = log_prob - 2 * (
                math.log(2) - actions - nn.functional.softplus(-2 * actions)
            ).sum(-1)
        entropy = total_log_std + (constant + 0.5 * self.num_actions)
        return log_prob, entropy.expand(log_prob.shape)

    def excess(self, policy: Tensor) -> Tensor:
        """Return Σ max(|μ| - limit, 0)² [...].

        The limit is 1 for "clip" and 2 for "squash", since tanh 2 = 0.96; without bounds there is
        no excess. This is the bounds loss of rl_games (Makoviichuk and Makoviychuk 2021). Far
        beyond the limit noise does not change what the environment is given, the policy gradient is
        random, and the mean does not return by itself.
        """
        limit = {"clip": 1.0, "squash": 2.0, None: math.inf}[self.bounds]
        mean, _ = self._mean_and_log_std(policy)
        return (mean.abs() - limit).clamp_min(0.0).square().sum(-1)

    def to_environment(self, actions: Tensor) -> Tensor:
        """Return what the environment is given; see `bounds`."""
        match self.bounds:
            case "clip":
                return actions.clamp(-1.0, 1.0)
            case "squash":
                return actions.tanh()
        return actions

    def _mean_and_log_std(self, policy: Tensor) -> tuple[Tensor, Tensor]:
        if not self.state_dependent_std:
            return policy, self.log_std
        mean, offset = policy.chunk(2, dim=-1)
        return mean, offset + self._initial_log_std


Head = Categorical | MultiCategorical | DiagonalGaussian
