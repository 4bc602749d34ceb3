"""Small networks and observations for tests."""

import itertools

import torch
from torch import Tensor

from a3c.fast.kernels import empty
from a3c.fast.network import FastActorCritic
from a3c.networks.actor_critic import ActorCritic, Network
from a3c.networks.heads import Categorical, Head

NUM_ACTIONS = 6
SHAPES = {
    "small conv": ((1, 42, 42), torch.uint8),
    "small conv of a stack": ((4, 42, 42), torch.uint8),
    "nature": ((4, 84, 84), torch.uint8),
    "impala": ((2, 20, 20), torch.uint8),
    "mlp": ((5,), torch.float32),
}
CORES = ("none", "lstm", "gru")


def make_model(name: str, recurrent: str = "none", *, head: Head | None = None, **options):
    torch.manual_seed(0)
    options = {"hidden_size": 16, "network": "impala" if name == "impala" else "auto"} | options
    model = ActorCritic(
        observation_shape=SHAPES[name][0],
        head=head or Categorical(NUM_ACTIONS),
        recurrent=recurrent,
        **options,
    )
    if len(model.observation_shape) == 3:
        model.observation_inverse_std.fill_(1 / 64)
    return model


def make_observations(name: str, T: int, B: int) -> Tensor:
    """Random observations [T, B, ...], laid out as an actor's memory is: images channels_last."""
    shape, dtype = SHAPES[name]
    memory = empty((T * B, *shape), dtype)
    if dtype == torch.uint8:
        memory.random_(0, 255)
    else:
        memory.normal_()
    return memory.unflatten(0, (T, B))


def make_fast(model: ActorCritic, observations: Tensor) -> FastActorCritic:
    """The fast network for these observations; those after the segment lie elsewhere."""
    next_observations = observations[0].clone()
    return FastActorCritic(model, observations=observations, next_observations=next_observations)


@torch.inference_mode()
def act(network: Network, observations: Tensor, state: Tensor, starts: Tensor):
    """Act step by step, as an actor does: policies [T, B, A], values [T, B], last state [B, S]."""
    policies, values, state = [], [], state.clone()
    for x, start in zip(observations, starts, strict=True):
        state.mul_(~start.unsqueeze(-1))
        step = network.step(x, state)
        state.copy_(step.state)
        policies.append(step.policy.clone())
        values.append(step.values.clone())
    return torch.stack(policies), torch.stack(values), state


def gradients(model: ActorCritic, loss: Tensor) -> list[Tensor]:
    return [*torch.autograd.grad(loss, [*model.parameters()], materialize_grads=True)]


def assert_close_lists(found: list[Tensor], expected: list[Tensor]) -> None:
    """Each tensor to rounding: relative to the largest number in it."""
    for mine, reference in itertools.zip_longest(found, expected):
        torch.testing.assert_close(
            mine, reference, atol=1e-4 * float(reference.detach().abs().max()), rtol=1e-3
        )
