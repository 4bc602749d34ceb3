"""From a configuration to a shared optimizer and an exchange."""

import dataclasses
from collections.abc import Callable
from multiprocessing.context import BaseContext
from typing import Any

import torch
from torch import Tensor

from a3c.acktr import CRITIC, POLICY, NaturalActorCritic
from a3c.networks.actor_critic import ActorCritic
from a3c.networks.heads import LOG_STD_FISHER
from shared_optim.exchange import Barrier, Exchange, Hogwild
from shared_optim.flat import FlatParameters
from shared_optim.kfac import SharedKFAC
from shared_optim.kfac_memory import KFACMemory, KFACSettings, Known, kfac_statistics_size
from shared_optim.kronecker import LinearMap
from shared_optim.mean import Mean
from shared_optim.optimizers import SharedAdam, SharedOptimizer, SharedRMSprop, statistics_size
from shared_optim.rendezvous import Rendezvous
from workers.memory import BarrierMemory, SharedMemory
from workers.process import cores
from workers.settings.config import Config
from workers.settings.models import blank_segment
from workers.settings.recipes import build_algorithm


def optimizer_statistics_size(
    config: Config, num_parameters: int, kfac: KFACMemory | None = None
) -> int:
    """Return how many numbers the shared optimizer keeps."""
    if kfac is not None:
        return kfac_statistics_size(kfac.maps, num_parameters)
    return statistics_size(config.optimizer, num_parameters, amsgrad=config.amsgrad)


def build_exchange(
    config: Config,
    memory: SharedMemory,
    *,
    worker: int,
    beat: Callable[[], None],
    inversion_failed: Callable[[], object],
) -> Exchange:
    """Build one worker's exchange over the shared parameters.

    With --no-shared and without a barrier the worker has optimizer statistics of its own. At a
    barrier it calls `beat` while it waits. K-FAC calls `inversion_failed` where it cannot invert.
    """
    parameters, statistics = memory.parameters.tensor, memory.statistics.tensor
    if config.no_shared and memory.barrier is None:
        statistics = torch.zeros_like(statistics)
    optimizer: SharedOptimizer
    if memory.kfac is None:
        optimizer = _build_optimizer(config, parameters, statistics)
    else:
        optimizer = SharedKFAC(
            parameters,
            statistics,
            memory=memory.kfac,
            worker=worker,
            settings=_kfac_settings(config),
            failed=inversion_failed,
        )
    if memory.barrier is None:
        return Hogwild(parameters=parameters, optimizer=optimizer, max_norm=config.max_grad_norm)
    return _build_barrier(config, memory.barrier, parameters, optimizer, worker=worker, beat=beat)


def _build_barrier(
    config: Config,
    memory: BarrierMemory,
    parameters: Tensor,
    optimizer: SharedOptimizer,
    *,
    worker: int,
    beat: Callable[[], None],
) -> Barrier:
    patient = config.num_processes <= cores()
    return Barrier(
        rendezvous=Rendezvous(memory.rendezvous, worker=worker, beat=beat, patient=patient),
        mean=Mean(memory.mean, worker=worker),
        optimizer=optimizer,
        parameters=parameters,
        max_norm=config.max_grad_norm,
        steps=worker == 0,
    )


def _build_optimizer(config: Config, parameters: Tensor, statistics: Tensor) -> SharedOptimizer:
    if config.optimizer == "adam":
        first, second = config.betas
        return SharedAdam(
            parameters,
            statistics,
            betas=(first, second),
            eps=config.eps,
            amsgrad=config.amsgrad,
        )
    return SharedRMSprop(
        parameters,
        statistics,
        alpha=config.alpha,
        eps=config.eps,
        eps_inside_root=config.optimizer == "rmsprop_tf",
    )


def build_kfac_memory(
    config: Config, model: ActorCritic, *, context: BaseContext
) -> KFACMemory | None:
    """Build what K-FAC needs; None if the optimizer is another one.

    ValueError if nothing is known of a parameter's curvature.
    """
    if config.optimizer != "kfac":
        return None
    algorithm = build_algorithm(config)
    assert isinstance(algorithm, NaturalActorCritic)
    parameters = FlatParameters(model)
    with torch.random.fork_rng(devices=[]):
        shape = config.num_steps, config.envs_per_process
        captured = algorithm.capture(model, blank_segment(model, shape))
    critics = {*model.critic_body.parameters(), *model.critic.parameters()}
    maps = [
        LinearMap(
            weight=parameters.start(weight),
            bias=parameters.start(bias),
            rows=g.shape[1],
            inputs=a.shape[1] - 1,
            group=CRITIC if weight in critics and _critic_apart(config) else POLICY,
            num_samples=len(a),
            locations=locations,
        )
        for (weight, bias, locations), (a, g) in zip(captured.maps, captured.samples, strict=True)
    ]
    covered = {parameter for weight, bias, _ in captured.maps for parameter in (weight, bias)}
    return KFACMemory.create(
        maps,
        _known(model, parameters, covered),
        num_workers=config.num_processes,
        num_parameters=parameters.vector.numel(),
        context=context,
    )


def _known(model: ActorCritic, parameters: FlatParameters, covered: set[Tensor]) -> list[Known]:
    """Return the parameters outside linear maps, with their curvature. ValueError if unknown."""
    known = []
    for name, parameter in model.named_parameters():
        if parameter in covered:
            continue
        if not name.endswith("log_std"):
            raise ValueError(
                "--algo acktr can't be used with this network: nothing is known of the curvature "
                f"of {name}"
            )
        start = parameters.start(parameter)
        known.append(Known(slice(start, start + parameter.numel()), LOG_STD_FISHER))
    return known


def _critic_apart(config: Config) -> bool:
    return config.value_kl_clip is not None or config.value_updates > 0


def _kfac_settings(config: Config) -> list[KFACSettings]:
    policy = KFACSettings(
        momentum=config.momentum,
        stat_decay=config.stat_decay,
        damping=config.damping,
        kl_clip=config.kl_clip,
        factor_interval=config.kfac_factor_interval,
        inverse_interval=config.kfac_inverse_interval,
        cold_updates=config.kfac_cold_updates,
        inverse=config.kfac_inverse,
        desired_kl=config.desired_kl,
    )
    own: dict[str, Any] = {
        "kl_clip": config.value_kl_clip,
        "damping": config.value_damping,
        "stat_decay": config.value_stat_decay,
        "cold_updates": config.value_cold_updates,
    }
    given = {name: value for name, value in own.items() if value is not None}
    critic = dataclasses.replace(policy, **given)
    return [policy, critic] if _critic_apart(config) else [policy]
