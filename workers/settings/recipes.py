"""From a row of the table of algorithms to a loss and its gradient; the configuration ends here."""

import dataclasses
import importlib
from typing import TYPE_CHECKING, Any

from torch import Tensor

from a3c.acktr import NaturalActorCritic
from a3c.algorithm import Algorithm, Batch
from a3c.auxiliary import AuxiliaryHead
from a3c.networks.actor_critic import ActorCritic, Network
from a3c.returns import Average
from shared_optim.flat import FlatParameters
from workers.gradients import CurvedGradient, TracedGradient
from workers.learner import Gradient, PlainGradient
from workers.settings.algorithms import recipe
from workers.settings.config import Config
from workers.settings.models import blank_segment

if TYPE_CHECKING:
    from a3c.fast.tracing import Program


def build_algorithm(
    config: Config, worker: int = 0, *, auxiliary_heads: tuple[AuxiliaryHead, ...] = ()
) -> Algorithm:
    """Build the algorithm of --algo for one of the workers.

    A field of the algorithm's class gets the value of the flag with the same name. The arguments
    of the algorithm's row come on top.
    """
    row = recipe(config.algo)
    module, _, name = row.algorithm.partition(":")
    kind: Any = getattr(importlib.import_module(module), name)
    at_barrier = config.exchange == "barrier"
    known = {
        **vars(config),
        "auxiliary_heads": auxiliary_heads,
        "rank": worker,
        "num_workers": config.num_processes if at_barrier else 1,
        **row.arguments(config),
    }
    names = [field.name for field in dataclasses.fields(kind) if field.name in known]
    algorithm: Algorithm = kind(**{name: known[name] for name in names})
    return algorithm


def trace_gradient(config: Config, model: ActorCritic) -> "Program | None":
    """Trace the gradient of the loss, or return None where that gains nothing.

    It is done for algorithms whose row allows it. It gains where a pass has several minibatches of
    one size, and the network has neither convolutions nor a core.
    """
    if not (config.fast and recipe(config.algo).traced) or config.num_mini_batch == 1:
        return None
    if config.recurrent != "none" or config.auxiliary_heads or config.whole_episodes:
        return None
    if len(model.observation_shape) != 1:
        return None
    from a3c.fast.tracing import trace

    algorithm = build_algorithm(config)
    size = config.num_steps * config.envs_per_process // config.num_mini_batch
    steps = blank_segment(model, (1, size))
    batch = Batch(steps=steps, advantages=steps.rewards, returns=steps.rewards)
    return trace(
        lambda network, tensors: algorithm.loss(network, Batch.from_tensors(tensors)),
        model,
        batch.tensors(),
    )


def build_network(
    config: Config, model: ActorCritic, *, observations: Tensor, next_observations: Tensor
) -> Network:
    """Return the network that a worker acts and learns with: fast, or with --no-fast the model.

    The observations of a segment lie in `observations` [T, B, ...], those after its last step in
    `next_observations` [B, ...].
    """
    if not config.fast:
        return model
    from a3c.fast.network import FastActorCritic

    return FastActorCritic(model, observations=observations, next_observations=next_observations)


def build_gradient(
    config: Config,
    algorithm: Algorithm,
    network: Network,
    *,
    model: ActorCritic,
    parameters: FlatParameters,
    program: "Program | None",
    average: Average,
) -> Gradient:
    """Choose how a batch is differentiated: plainly, by a traced program, or with curvature."""
    plain = PlainGradient(algorithm, network, parameters)
    if config.optimizer == "kfac":
        assert isinstance(algorithm, NaturalActorCritic)
        return CurvedGradient(plain, algorithm, network=network, model=model, average=average)
    if program is None:
        return plain
    from a3c.fast.tracing import BoundGradient

    return TracedGradient(BoundGradient(program, model), plain)
