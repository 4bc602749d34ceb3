"""Recipes: a row names an algorithm, a shared optimizer and an exchange; here the configuration stops."""

import dataclasses
import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Any

import torch
from torch import Tensor

from a3c.acktr import CRITIC, POLICY, NaturalActorCritic
from a3c.advantage_actor_critic import AdvantageActorCritic
from a3c.algorithm import Algorithm, Batch
from a3c.auxiliary import AuxiliaryHead
from a3c.heads import LOG_STD_FISHER, Categorical, DiagonalGaussian, Head, MultiCategorical
from a3c.model import ActorCritic
from a3c.ppo import ProximalPolicyOptimization
from a3c.segment import Segment
from a3c.tracing import Program, trace
from envs.ids import STACKS
from shared_optim.exchange import Barrier, BarrierMemory, Exchange, Hogwild
from shared_optim.flat import FlatParameters
from shared_optim.kfac import KFACMemory, KFACSettings, Known, SharedKFAC, kfac_statistics_size
from shared_optim.kronecker import LinearMap
from shared_optim.optimizers import SharedAdam, SharedOptimizer, SharedRMSprop, statistics_size
from workers.process import cores
from workers.settings.config import Config
from workers.settings.flags import UsageError


@dataclass(frozen=True)
class Spaces:
    """What a network must know of an environment."""

    observation_shape: tuple[int, ...]
    observation: str  # "frame42", "stack42", "stack84", "ram" or "vector"
    num_actions: int  # how many there are to choose from, or of how many numbers one consists
    continuous: bool = False
    bounded: bool = True  # whether each number of a continuous action has bounds
    choices: tuple[
        int, ...
    ] = ()  # where an action is several choices at once: how many there are to choose from in each

    @property
    def num_statistics(self) -> int:
        """How many (mean, M2) pairs the normaliser keeps: one for all pixels of an image, one for each element of a vector."""
        return self.observation_shape[0] if len(self.observation_shape) == 1 else 1

    @property
    def normalised(self) -> bool:
        """Whether observations are scaled by running statistics; stacks of frames are divided by 255."""
        return self.observation not in STACKS


def build_model(config: Config, spaces: Spaces) -> ActorCritic:
    """The network, with parameters drawn from torch's global generator."""
    model = ActorCritic(
        observation_shape=spaces.observation_shape,
        head=_build_head(config, spaces),
        recurrent=config.recurrent,
        activation=config.activation,
        num_layers=config.num_layers,
        num_shared_layers=config.num_shared_layers,
        hidden_size=config.hidden_size,
        observation_clip=10.0 if len(spaces.observation_shape) == 1 else None,
        network=config.network,
        precision=getattr(torch, config.precision),
        auxiliary_heads=_auxiliary_heads(config.auxiliary_heads, spaces),
    )
    if not spaces.normalised:
        model.observation_inverse_std.fill_(1 / 255)
    return model


def _auxiliary_heads(name: str | None, spaces: Spaces) -> Sequence[AuxiliaryHead]:
    if name is None:
        return ()
    module, _, function = name.partition(":")
    try:
        heads: Sequence[AuxiliaryHead] = getattr(importlib.import_module(module), function)(spaces)
    except (ImportError, AttributeError) as problem:
        raise UsageError(
            f"--auxiliary-heads {name} is not a function module:function ({problem})"
        ) from None
    return heads


def _build_head(config: Config, spaces: Spaces) -> Head:
    if spaces.choices:
        return MultiCategorical(spaces.choices)
    if not spaces.continuous:
        return Categorical(spaces.num_actions)
    return DiagonalGaussian(
        spaces.num_actions,
        initial_log_std=config.initial_log_std,
        state_dependent_std=config.state_dependent_std,
        bounds=None if not spaces.bounded else "squash" if config.squash_actions else "clip",
    )


def build_algorithm(config: Config, worker: int = 0) -> Algorithm:
    """The losses of `--algo`, as one of the workers has them."""
    common: dict[str, Any] = {
        "gamma": config.gamma,
        "gae_lambda": config.gae_lambda,
        "value_gae_lambda": config.value_gae_lambda,
        "normalize_advantages": config.normalize_advantages,
        "entropy_coef": config.entropy_coef,
        "value_loss_coef": config.value_loss_coef,
        "bounds_loss_coef": config.bounds_loss_coef,
        "auxiliary_loss_coef": config.auxiliary_loss_coef if config.auxiliary_heads else 0.0,
    }
    if config.algo == "ppo":
        return ProximalPolicyOptimization(
            **common,
            clip_param=config.clip_param,
            num_epochs=config.ppo_epoch,
            num_mini_batch=config.num_mini_batch,
            worker=worker,
            num_workers=config.num_processes if config.exchange == "barrier" else 1,
            clip_values=config.use_clipped_value_loss,
            target_kl=math.inf if config.target_kl is None else config.target_kl,
        )
    common |= {
        "entropy_scale": config.entropy_scale,
        "loss_reduction": config.loss_reduction,
    }
    if config.algo == "acktr":
        num_fisher_steps = math.ceil(config.fisher_steps / config.num_processes)
        if config.whole_episodes:  # as many as a segment has at least
            num_fisher_steps = min(num_fisher_steps or config.num_steps, config.num_steps)
        return NaturalActorCritic(
            **common,
            value_fisher_coef=config.value_fisher_coef,
            num_fisher_steps=num_fisher_steps,
            turns=config.value_updates * ((CRITIC,),) + ((POLICY,),)
            if config.value_updates
            else ((),),
        )
    return AdvantageActorCritic(**common)


def build_kfac_memory(
    config: Config, model: ActorCritic, *, context: BaseContext
) -> KFACMemory | None:
    """What K-FAC needs where it is the optimizer. ValueError where a parameter belongs to no layer that can be captured."""
    if config.optimizer != "kfac":
        return None
    algorithm = build_algorithm(config)
    assert isinstance(algorithm, NaturalActorCritic)
    parameters = FlatParameters(model)
    with torch.random.fork_rng(devices=[]):
        captured = algorithm.capture(
            model, _blank_segment(model, (config.num_steps, config.envs_per_process))
        )
    critics = {*model.critic_body.parameters(), *model.critic.parameters()}
    maps, covered = [], set()
    for (weight, bias, locations), (a, g) in zip(captured.maps, captured.samples, strict=True):
        maps.append(
            LinearMap(
                weight=parameters.start(weight),
                bias=parameters.start(bias),
                rows=g.shape[1],
                inputs=a.shape[1] - 1,
                group=CRITIC if weight in critics and _critic_apart(config) else POLICY,
                num_samples=len(a),
                locations=locations,
            )
        )
        covered |= {weight, bias}
    known = []
    for name, parameter in model.named_parameters():
        if parameter in covered:
            continue
        if not name.endswith("log_std"):
            raise ValueError(
                f"--algo acktr can't be used with this network: nothing is known of the curvature of {name}"
            )
        start = parameters.start(parameter)
        known.append(Known(slice(start, start + parameter.numel()), LOG_STD_FISHER))
    size = parameters.vector.numel()
    return KFACMemory.create(
        maps, known, num_workers=config.num_processes, num_parameters=size, context=context
    )


def trace_gradient(config: Config, model: ActorCritic) -> Program | None:
    """For PPO's many small minibatches, alike in size, on a network without convolutions or a core; otherwise None."""
    if (
        config.algo != "ppo"
        or config.num_mini_batch == 1
        or config.recurrent != "none"
        or config.auxiliary_heads
    ):
        return None
    if len(model.observation_shape) != 1 or config.whole_episodes:
        return None
    steps = _blank_segment(
        model, (1, config.num_steps * config.envs_per_process // config.num_mini_batch)
    )
    return trace(
        build_algorithm(config),
        model,
        Batch(steps=steps, advantages=steps.rewards, returns=steps.rewards),
    )


def _blank_segment(model: ActorCritic, shape: tuple[int, int]) -> Segment:
    return Segment.seen(
        observations=torch.zeros(*shape, *model.observation_shape),
        starts=torch.zeros(shape, dtype=torch.bool),
        state=model.initial_state(shape[1]),
        actions=torch.zeros(*shape, *model.head.action_shape, dtype=model.head.action_dtype),
    )


def optimizer_statistics_size(
    config: Config, num_parameters: int, kfac: KFACMemory | None = None
) -> int:
    """Numbers that the optimizer of `config` remembers."""
    if kfac is not None:
        return kfac_statistics_size(kfac.maps, num_parameters)
    return statistics_size(config.optimizer, num_parameters, amsgrad=config.amsgrad)


def build_exchange(
    config: Config,
    *,
    parameters: Tensor,
    statistics: Tensor,
    barrier: BarrierMemory | None,
    kfac: KFACMemory | None,
    worker: int,
    beat: Callable[[], None],
    inversion_failed: Callable[[], object],
) -> Exchange:
    """The exchange over shared parameters; with --no-shared the statistics stay this process's own where it steps by itself."""
    if config.no_shared and barrier is None:
        statistics = torch.zeros_like(statistics)
    optimizer: SharedOptimizer
    if kfac is None:
        optimizer = _build_optimizer(config, parameters, statistics)
    else:
        settings = _kfac_settings(config)
        optimizer = SharedKFAC(
            parameters,
            statistics,
            memory=kfac,
            worker=worker,
            settings=settings,
            failed=inversion_failed,
        )
    if barrier is None:
        return Hogwild(parameters=parameters, optimizer=optimizer)
    return Barrier(
        memory=barrier,
        worker=worker,
        parameters=parameters,
        optimizer=optimizer,
        beat=beat,
        patient=config.num_processes <= cores(),
    )


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
    )
    own: dict[str, Any] = {
        "kl_clip": config.value_kl_clip,
        "damping": config.value_damping,
        "stat_decay": config.value_stat_decay,
        "cold_updates": config.value_cold_updates,
    }
    critic = dataclasses.replace(
        policy, **{name: value for name, value in own.items() if value is not None}
    )
    return [policy, critic] if _critic_apart(config) else [policy]


def _build_optimizer(config: Config, parameters: Tensor, statistics: Tensor) -> SharedOptimizer:
    if config.optimizer == "adam":
        first, second = config.betas
        return SharedAdam(
            parameters, statistics, betas=(first, second), eps=config.eps, amsgrad=config.amsgrad
        )
    inside = config.optimizer == "rmsprop_tf"
    return SharedRMSprop(
        parameters, statistics, alpha=config.alpha, eps=config.eps, eps_inside_root=inside
    )
