"""A run: its configuration, folder and shared memory, new or taken up again from a checkpoint."""

import contextlib
import dataclasses
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

from envs.actions import is_bounded
from envs.ids import EnvironmentProblem, ResolvedId
from envs.make import check_spaces, make
from envs.normaliser import SharedNormaliser
from shared_optim.exchange import BarrierMemory
from shared_optim.flat import FlatParameters
from shared_optim.memory import SharedTensor
from workers.exact import SharedMemory, pack
from workers.progress import COUNTERS, ProgressTable
from workers.records import checkpoint
from workers.records.provenance import git_commit, versions
from workers.records.run_folder import RunFolder
from workers.settings.config import Config
from workers.settings.recipes import (
    Spaces,
    build_kfac_memory,
    build_model,
    optimizer_statistics_size,
    trace_gradient,
)
from workers.snapshot import normaliser_state, policy_state

ROWS = ("normaliser", "returns", "counters")
CARRIED_COUNTERS = (
    "steps",
    "contributions",
    "updates",
    "episodes",
    "segments",
    "dropped_gradients",
    "failed_inversions",
)


def look_at(environment: ResolvedId, config: Config) -> Spaces:
    """Makes the environment once, before any worker does. EnvironmentProblem in one sentence."""
    env = make(environment, training=True, max_episode_length=config.max_episode_length)
    check_spaces(env)
    assert env.observation_space.shape is not None
    observations, actions = (
        (tuple(env.observation_space.shape), environment.observation),
        env.action_space,
    )
    if isinstance(actions, gymnasium.spaces.Box):
        spaces = Spaces(
            *observations,
            num_actions=actions.shape[0],
            continuous=True,
            bounded=is_bounded(actions),
        )
    elif isinstance(actions, gymnasium.spaces.MultiDiscrete):
        choices = tuple(actions.nvec.tolist())
        spaces = Spaces(*observations, num_actions=sum(choices), choices=choices)
    else:
        assert isinstance(actions, gymnasium.spaces.Discrete)
        spaces = Spaces(*observations, num_actions=int(actions.n))
    env.close()
    if config.squash_actions and not spaces.bounded:
        raise EnvironmentProblem(
            f"{environment.id} has actions without bounds: leave --squash-actions out."
        )
    return spaces


class Run:
    """What stays the same while processes come and go. With a checkpoint's `state` it goes on where that one was taken."""

    def __init__(
        self,
        *,
        config: Config,
        environment: ResolvedId,
        spaces: Spaces,
        folder: RunFolder,
        context: BaseContext,
        state: dict[str, Any] | None,
        policy: dict[str, Any] | None = None,
    ) -> None:
        """`state`: this run's own, to go on with; `policy`: another's, to begin with. ValueError if `state` has another size."""
        self.config, self.environment, self.spaces, self.folder = (
            config,
            environment,
            spaces,
            folder,
        )
        torch.manual_seed(config.seed)
        self.model = build_model(config, spaces)
        self.num_parameters = sum(parameter.numel() for parameter in self.model.parameters())
        kfac = build_kfac_memory(config, self.model, context=context)
        self.memory = SharedMemory(
            parameters=SharedTensor(self.num_parameters, dtype=torch.float32, context=context),
            statistics=SharedTensor(
                optimizer_statistics_size(config, self.num_parameters, kfac),
                dtype=torch.float32,
                context=context,
            ),
            normaliser=SharedTensor(
                config.num_processes,
                SharedNormaliser.row_size(spaces.num_statistics),
                dtype=torch.float64,
                context=context,
            ),
            returns=SharedTensor(
                config.num_processes,
                SharedNormaliser.row_size(1),
                dtype=torch.float64,
                context=context,
            ),
            progress=ProgressTable(config.num_processes, context=context),
            barrier=BarrierMemory.create(config.num_processes, self.num_parameters, context=context)
            if config.exchange == "barrier"
            else None,
            kfac=kfac,
        )
        # The model's parameters are from here on views of shared memory.
        self.parameters = FlatParameters(self.model, vector=self.memory.parameters.tensor).vector
        self.program = trace_gradient(config, self.model)
        self.normaliser = SharedNormaliser(self.memory.normaliser.tensor.numpy())
        self.returns = SharedNormaliser(self.memory.returns.tensor.numpy())
        self.sittings, self.elapsed, self.start_steps, self.start_updates = 0, 0.0, 0, 0
        self.recent: list[tuple[float, int]] = []
        self.best_mean, self.evaluated_episodes = -np.inf, 0
        self.worker_states: list[bytes] = []
        if state is not None:
            self._take_up(state)
        elif policy is not None:
            self.parameters.copy_(policy["parameters"])
            self._load_scaling(policy)

    def _take_up(self, state: dict[str, Any]) -> None:
        for name, saved, mine in (
            ("network", state["parameters"], self.parameters),
            ("optimizer", state["statistics"], self.memory.statistics.tensor),
        ):
            if saved.shape != mine.shape:
                raise ValueError(
                    f"the checkpoint's {name} has another size; "
                    "leave out the flags that change it, or use the version that saved it"
                )
            mine.copy_(saved)
        rows = {"normaliser": self.memory.normaliser, "returns": self.memory.returns}
        self.worker_states = self._states_that_fit(state)
        if self.worker_states:
            for name, shared in rows.items():
                shared.tensor.copy_(state["rows"][name])
            counters = state["rows"]["counters"].numpy()
            self.memory.progress.counters[:, : counters.shape[1]] = (
                counters  # an older version may have had fewer
            )
            self.memory.progress.column("heartbeat")[:] = 0  # of another boot's clock
        else:
            self._load_scaling(state)
            for name in CARRIED_COUNTERS:
                self.memory.progress.column(name)[0] = state["counters"].get(name, 0)
        self.sittings, self.elapsed, self.start_steps = (
            state["sittings"],
            state["elapsed"],
            state["steps"],
        )
        self.start_updates = state["counters"]["updates"]
        self.recent = [(return_, length) for return_, length in state["recent"]]
        self.best_mean, self.evaluated_episodes = state["best_mean"], state["evaluated_episodes"]
        # An evaluation may have ended after the checkpoint; best.pt itself says how good it is.
        with contextlib.suppress(checkpoint.CheckpointError):
            self.best_mean = max(self.best_mean, checkpoint.load(self.folder.best)["mean"])

    def _load_scaling(self, state: dict[str, Any]) -> None:
        for normaliser, name in ((self.normaliser, "normaliser"), (self.returns, "returns")):
            if name in state:  # a best.pt has nothing to scale rewards with
                saved = state[name]
                normaliser.load(saved["count"], saved["mean"].numpy(), saved["m2"].numpy())

    def _states_that_fit(self, state: dict[str, Any]) -> list[bytes]:
        """What each worker goes on with exactly; empty where as many workers and environments, or their states, are missing."""
        saved, config = state.get("workers"), self.config
        same = all(
            state["config"][name] == getattr(config, name)
            for name in ("num_processes", "envs_per_process", "seed")
        )
        if config.exchange != "barrier" or not saved or not same:
            return []
        return [pack(worker) for worker in saved]

    def is_finite(self) -> bool:
        """Whether every shared parameter is a number."""
        return bool(torch.isfinite(self.parameters).all())

    def policy_state(self, shared: dict[str, torch.Tensor] | None = None) -> dict[str, Any]:
        """What is needed to play the policy as it is now, or was when `shared` was copied."""
        shared = shared or self.memory.copy()
        return policy_state(
            config=self.config,
            environment=self.environment,
            spaces=self.spaces,
            parameters=shared["parameters"],
            normaliser=SharedNormaliser(shared["normaliser"].numpy()),
            steps=int(shared["counters"][:, COUNTERS.index("steps")].sum()),
        )

    def full_state(
        self,
        *,
        elapsed: float,
        recent: list[tuple[float, int]],
        best_mean: float,
        evaluated_episodes: int,
        shared: dict[str, torch.Tensor] | None = None,
        workers: list[dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """What is needed to go on; exactly, with what all `workers` sent at the moment when `shared` was copied."""
        shared = shared or self.memory.copy()
        totals = shared["counters"].sum(0).tolist()
        exact = (
            {}
            if workers is None
            else {"workers": workers, "rows": {name: shared[name] for name in ROWS}}
        )
        return {
            **self.policy_state(shared),
            **exact,
            "statistics": shared["statistics"],
            "returns": normaliser_state(SharedNormaliser(shared["returns"].numpy())),
            "counters": {name: totals[COUNTERS.index(name)] for name in CARRIED_COUNTERS},
            "sittings": self.sittings + 1,
            "elapsed": elapsed,
            "recent": recent,
            "best_mean": best_mean,
            "evaluated_episodes": evaluated_episodes,
            "versions": versions(),
        }

    @property
    def policy_path(self) -> Path:
        """Where --save-dir keeps the newest policy."""
        return saved_policy_path(self.config.save_dir, self.config.env_name, algo=self.config.algo)

    @property
    def title(self) -> str:
        """The run in one line."""
        config = self.config
        workers = f"{config.num_processes} worker{'s' * (config.num_processes > 1)} x {config.envs_per_process}"
        return f"{config.env_name}   {config.algo}   {workers}   seed {config.seed}"

    def description(self) -> dict[str, Any]:
        """What config.json holds: every flag, and what they were resolved to."""
        return {
            **dataclasses.asdict(self.config),
            "env_id_resolved": self.environment.id,
            "environment": dataclasses.asdict(self.environment),
            "observation_shape": list(self.spaces.observation_shape),
            "num_parameters": self.num_parameters,
            "versions": versions(),
            "git_commit": git_commit(),
        }


def saved_policy_path(save_dir: str, env_name: str, *, algo: str | None = None) -> Path:
    """<save-dir>/<algo>/<env>.pt; what can't be in a file's name becomes a dash."""
    folder = Path(save_dir).expanduser() / (algo or "")
    return folder / f"{env_name.replace('/', '-').replace(':', '-')}.pt"
