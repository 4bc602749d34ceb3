"""A network that keeps what acting computed, so that learning computes no layer again.

The calls of acting are bound to their arguments once and then repeated, like a CUDA graph. The
outputs of the layers are replayed to the backward pass.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from a3c.fast.cores import record_core
from a3c.fast.kernels import Call, scale_into
from a3c.fast.layers import Memory, bind, record, replay
from a3c.networks.actor_critic import ActorCritic, Step, Unrolled


class FastActorCritic:
    """`step` and `unroll` of an `ActorCritic`, faster for observations at one place in memory.

    `step` of row t of `observations` is recorded as step t. `step` of `next_observations` is fast
    but not part of the record. The plain network computes any other step.

    `unroll` of the whole `observations` replays the record, if all rows were stepped in order. It
    does so only once, because further passes follow a change of the parameters. It computes
    anything else anew. The parameters and the observations must not change between a segment's
    first step and that `unroll`.

    The model's parameters and buffers must stay where they are in memory.
    """

    def __init__(
        self, model: ActorCritic, *, observations: Tensor, next_observations: Tensor
    ) -> None:
        """`observations` [T, B, ...] and `next_observations` [B, ...] are the memory to watch."""
        T, B = observations.shape[:2]
        self.head, self.initial_state = model.head, model.initial_state
        self._model, self._observations = model, observations
        self._segment = _Recording(model, T, B)
        self._after = _Recording(model, 1, B)
        # Keep the tensors, so that no other tensor can be allocated at their addresses.
        self._places = {next_observations.data_ptr(): _Place(next_observations, self._after, 0)}
        for t, row in enumerate(observations.unbind()):
            self._places[row.data_ptr()] = _Place(row, self._segment, t)

    def step(self, observations: Tensor, state: Tensor) -> Step:
        """Take one step: observations [B, ...], state [B, S]; see `ActorCritic`.

        A fast step has no gradients; call it in `torch.inference_mode` or `torch.no_grad`. Its
        result is valid until the same row is stepped again.
        """
        place = self._places.get(observations.data_ptr())
        if place is None or not _same_layout(observations, place.row):
            return self._model.step(observations, state)
        return place.recording.step(place.t, observations, state)

    def unroll(self, observations: Tensor, state: Tensor, starts: Tensor) -> Unrolled:
        """Take T steps, with gradients; see `ActorCritic`."""
        whole = self._observations
        if observations.data_ptr() == whole.data_ptr() and _same_layout(observations, whole):
            return self._segment.unroll(observations, state, starts)
        precision = self._model.precision
        return self._segment.compute(observations, state, starts, precision=precision)


class _Place(NamedTuple):
    """Where observations of one step lie, and where the step is recorded."""

    row: Tensor  # [B, ...]
    recording: "_Recording"
    t: int


def _same_layout(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.stride() == b.stride()


@dataclass(frozen=True)
class _Bound:
    """One step of acting, with its arguments bound."""

    load_observations: Callable[[Tensor], object]
    load_state: Callable[[Tensor], object]
    calls: list[Call]
    policy: Tensor
    values: Tensor
    state: Tensor | None  # None without a core


class _Recording:
    """A record of T steps of B environments."""

    def __init__(self, model: ActorCritic, num_steps: int, batch_size: int) -> None:
        self._model, self._shape = model, (num_steps, batch_size)
        # The fast convolution of a single image needs float32.
        self._precision = model.precision if batch_size > 1 else torch.float32
        self._input = Memory(num_steps)
        self._body = record(model.body.layers, num_steps)
        self._core = None if model.core is None else record_core(model.core, num_steps)
        self._actor_body = record(model.actor_body.layers, num_steps)
        self._critic_body = record(model.critic_body.layers, num_steps)
        (self._actor,) = record(model.actor, num_steps)
        (self._critic,) = record(model.critic, num_steps)
        self._bound: list[_Bound | None] = [None] * num_steps
        self._recorded = 0  # number of consecutive steps, from the first

    def step(self, t: int, observations: Tensor, state: Tensor) -> Step:
        """Take step t, and keep what its layers give."""
        self._recorded = t + 1 if t in (0, self._recorded) else 0
        bound = self._bound[t]
        if bound is None:
            bound = self._bound[t] = self._bind(t, observations)
        bound.load_observations(observations)
        bound.load_state(state)
        for call in bound.calls:
            call()
        return Step(bound.policy, bound.values, state if bound.state is None else bound.state)

    def unroll(self, observations: Tensor, state: Tensor, starts: Tensor) -> Unrolled:
        """Replay a complete record, once; compute anything else anew."""
        complete, self._recorded = self._recorded == self._shape[0], 0
        if complete:
            return self._replay(state, starts)
        return self.compute(observations, state, starts, precision=self._precision)

    def _replay(self, state: Tensor, starts: Tensor) -> Unrolled:
        T, B = self._shape
        shared = replay(self._body, self._input.whole)
        features = shared[-1]
        if self._core is not None:
            outputs = self._core.unroll(features.view(T, B, -1), state, starts, replayed=True)
            features = outputs.flatten(0, 1)
        actor, critic = replay(self._actor_body, features), replay(self._critic_body, features)
        policy, values = self._actor.replay(actor[-1]), self._critic.replay(critic[-1])
        return self._unrolled(policy, values, shared, actor, critic, starts)

    def compute(
        self,
        observations: Tensor,
        state: Tensor,
        starts: Tensor,
        *,
        precision: torch.dtype,
    ) -> Unrolled:
        """Unroll any segment; only the core is faster than the plain network's."""
        (T, B), model = starts.shape, self._model
        x = model.scaled(observations.flatten(0, 1), precision)
        shared = [depth.float() for depth in model.body.depths(x)]
        features = shared[-1]
        if self._core is not None:
            outputs = self._core.unroll(features.view(T, B, -1), state, starts, replayed=False)
            features = outputs.flatten(0, 1)
        actor, critic = model.actor_body.depths(features), model.critic_body.depths(features)
        policy, values = model.actor(actor[-1]), model.critic(critic[-1])
        return self._unrolled(policy, values, shared, actor, critic, starts)

    def _unrolled(
        self,
        policy: Tensor,
        values: Tensor,
        shared: list[Tensor],
        actor: list[Tensor],
        critic: list[Tensor],
        starts: Tensor,
    ) -> Unrolled:
        T, B = starts.shape
        depths = {"shared": shared, "actor": actor, "critic": critic}
        auxiliary = self._model.auxiliary_values(depths, (T, B))
        return Unrolled(policy.view(T, B, -1), values.view(T, B), auxiliary)

    def _bind(self, t: int, observations: Tensor) -> _Bound:
        images = observations.dim() == 4
        dtype = self._precision if images else torch.float32
        row = self._input.row(t, tuple(observations.shape), dtype)
        load_observations = scale_into(self._model, row)
        features, calls = bind(self._body, t, row)
        load_state: Callable[[Tensor], object] = _nothing
        state = None
        if self._core is not None:
            features, state, load_state, call = self._core.bind(t, features)
            calls.append(call)
        actor, actor_calls = bind([*self._actor_body, self._actor], t, features)
        critic, critic_calls = bind([*self._critic_body, self._critic], t, features)
        calls += [*actor_calls, *critic_calls]
        return _Bound(load_observations, load_state, calls, actor, critic.squeeze(-1), state)


def _nothing(state: Tensor) -> None:
    """Do nothing: a network without a core has no state to load."""
