"""A run: its configuration, folder and shared memory, new or resumed from a checkpoint."""

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch

from envs.ids import ResolvedId
from envs.normaliser import SharedNormaliser
from shared_optim.flat import FlatParameters
from shared_optim.kfac_memory import KFACMemory
from shared_optim.memory import SharedTensor
from workers.memory import BarrierMemory, SharedMemory
from workers.progress import CARRIED_COUNTERS, COUNTERS, ProgressTable
from workers.records import checkpoint
from workers.records.atomic import write_json
from workers.records.faults import reason
from workers.records.folder_lock import hold, is_held
from workers.records.provenance import git_commit, versions
from workers.records.run_folder import RunFolder, RunFolderError
from workers.resume import pack
from workers.settings.config import Config
from workers.settings.exchanges import build_kfac_memory, optimizer_statistics_size
from workers.settings.models import Spaces, build_model
from workers.settings.recipes import trace_gradient
from workers.snapshot import normaliser_state, policy_state, saved_policy_path
from workers.worker import Task

ROWS = ("normaliser", "returns", "counters")


class Run:
    """What stays the same while processes come and go."""

    def __init__(
        self,
        *,
        config: Config,
        environment: ResolvedId,
        spaces: Spaces,
        folder: RunFolder,
        context: BaseContext,
        state: dict[str, Any] | None = None,
        policy: dict[str, Any] | None = None,
        lock: TextIO | None = None,
        origins: Mapping[str, str] | None = None,
        warnings: Sequence[str] = (),
        printed: str = "",
    ) -> None:
        """Create the shared memory, and fill it. ValueError if `state` has another size.

        `state` is a checkpoint of this run, which is resumed; `policy` is one of another run, whose
        policy this one starts with. `lock` is the folder's, `origins` where settings come from,
        `warnings` what the user must be told, `printed` what the environment printed so far.
        """
        self.config, self.environment, self.spaces = config, environment, spaces
        self.folder, self.context, self.lock = folder, context, lock
        self.origins, self.warnings, self.printed = dict(origins or {}), list(warnings), printed
        self.resumed = state is not None
        torch.manual_seed(config.seed)
        self.model = build_model(config, spaces)
        self.num_parameters = sum(parameter.numel() for parameter in self.model.parameters())
        kfac = build_kfac_memory(config, self.model, context=context)
        self.memory = _shared_memory(
            config, spaces, num_parameters=self.num_parameters, kfac=kfac, context=context
        )
        # From here on the model's parameters are views of shared memory.
        self.parameters = FlatParameters(self.model, vector=self.memory.parameters.tensor).vector
        self.program = trace_gradient(config, self.model)
        self.normaliser = SharedNormaliser(self.memory.normaliser.tensor.numpy())
        self.returns = SharedNormaliser(self.memory.returns.tensor.numpy())
        self.sittings, self.elapsed, self.start_steps, self.start_updates = 0, 0.0, 0, 0
        self.recent: list[tuple[float, int]] = []
        self.best_mean, self.evaluated_episodes = -np.inf, 0
        self.worker_states: list[bytes] = []
        if state is not None:
            self._load(state)
        elif policy is not None:
            self.parameters.copy_(policy["parameters"])
            self._load_scaling(policy)

    def task(self, worker: int, *, restarts: int = 0) -> Task:
        """Return what a worker's process is given; `restarts` of all workers have come before it.

        Only the first process of a worker resumes exactly. A replacement starts new episodes, with
        random numbers of its own.
        """
        resumes = restarts == 0 and self.worker_states
        return Task(
            config=self.config,
            environment=self.environment,
            spaces=self.spaces,
            memory=self.memory,
            worker=worker,
            stream=(self.sittings, restarts),
            log_path=str(self.folder.log),
            program=self.program,
            state=self.worker_states[worker] if resumes else None,
        )

    def is_finite(self) -> bool:
        """Return whether every shared parameter is finite."""
        return bool(torch.isfinite(self.parameters).all())

    def policy_state(self, shared: dict[str, torch.Tensor] | None = None) -> dict[str, Any]:
        """Return a snapshot of the policy as it is now, or as it was when `shared` was copied."""
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
        """Return a checkpoint.

        A run resumes from it exactly if `workers` are the states that all workers sent at the
        moment when `shared` was copied.
        """
        shared = shared or self.memory.copy()
        totals = shared["counters"].sum(0).tolist()
        exact: dict[str, Any] = {}
        if workers is not None:
            exact = {"workers": workers, "rows": {name: shared[name] for name in ROWS}}
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

    def folder_fault(self) -> str | None:
        """Return why the run's folder is lost, in a few words; None if it is still there."""
        if self.lock is None or is_held(self.folder, self.lock):
            return None
        try:
            lock = hold(self.folder)
        except OSError as error:
            return reason(error)
        except RunFolderError:
            return "another run has begun there"
        self.lock.close()
        self.lock = lock
        return None

    def move_to(self, folder: RunFolder) -> None:
        """Go on in another folder. OSError."""
        lock = hold(folder)
        self.close()
        self.folder, self.lock = folder, lock

    def close(self) -> None:
        """Release the run's folder."""
        if self.lock is not None:
            self.lock.close()

    @property
    def policy_path(self) -> Path:
        """The file in --save-dir that holds the newest policy."""
        return saved_policy_path(self.config.save_dir, self.config.env_name, algo=self.config.algo)

    @property
    def title(self) -> str:
        """The run in one line."""
        config = self.config
        plural = "s" * (config.num_processes > 1)
        workers = f"{config.num_processes} worker{plural} x {config.envs_per_process}"
        return f"{config.env_name}   {config.algo}   {workers}   seed {config.seed}"

    def describe(self) -> None:
        """Write config.json. OSError."""
        write_json(self.folder.config, self.description() | {"origins": self.origins})

    def description(self) -> dict[str, Any]:
        """Return every flag, and what the flags were resolved to."""
        return {
            **dataclasses.asdict(self.config),
            "env_id_resolved": self.environment.id,
            "environment": dataclasses.asdict(self.environment),
            "observation_shape": list(self.spaces.observation_shape),
            "num_parameters": self.num_parameters,
            "versions": versions(),
            "git_commit": git_commit(),
        }

    def _load(self, state: dict[str, Any]) -> None:
        """Continue where the checkpoint was taken."""
        self._load_tensor("network", state["parameters"], self.parameters)
        self._load_tensor("optimizer", state["statistics"], self.memory.statistics.tensor)
        self.worker_states = self._states_that_fit(state)
        if self.worker_states:
            self._load_rows(state["rows"])
        else:
            self._load_scaling(state)
            for name in CARRIED_COUNTERS:
                self.memory.progress.column(name)[0] = state["counters"].get(name, 0)
        self.sittings, self.elapsed = state["sittings"], state["elapsed"]
        self.start_steps, self.start_updates = state["steps"], state["counters"]["updates"]
        self.recent = [(return_, length) for return_, length in state["recent"]]
        self.best_mean, self.evaluated_episodes = state["best_mean"], state["evaluated_episodes"]
        # An evaluation may have ended after the checkpoint. best.pt contains its mean.
        with contextlib.suppress(checkpoint.CheckpointError):
            self.best_mean = max(self.best_mean, checkpoint.load(self.folder.best)["mean"])

    def _load_tensor(self, what: str, saved: torch.Tensor, shared: torch.Tensor) -> None:
        if saved.shape != shared.shape:
            raise ValueError(
                f"the checkpoint's {what} has another size; "
                "leave out the flags that change it, or use the version that saved it"
            )
        shared.copy_(saved)

    def _load_rows(self, rows: dict[str, torch.Tensor]) -> None:
        """Give each worker the rows that it had."""
        self.memory.normaliser.tensor.copy_(rows["normaliser"])
        self.memory.returns.tensor.copy_(rows["returns"])
        counters = rows["counters"].numpy()  # an older version may have had fewer
        self.memory.progress.counters[:, : counters.shape[1]] = counters
        self.memory.progress.column("heartbeat")[:] = 0  # it was of another boot's clock

    def _load_scaling(self, state: dict[str, Any]) -> None:
        """Take the merged statistics of observations and returns; a best.pt has no returns."""
        for normaliser, name in ((self.normaliser, "normaliser"), (self.returns, "returns")):
            if name in state:
                saved = state[name]
                normaliser.load(saved["count"], saved["mean"].numpy(), saved["m2"].numpy())

    def _states_that_fit(self, state: dict[str, Any]) -> list[bytes]:
        """Return the state from which each worker resumes exactly.

        It is empty if the states are missing, or belong to another number of workers or
        environments, or to another seed.
        """
        saved, config = state.get("workers"), self.config
        same = all(
            state["config"][name] == getattr(config, name)
            for name in ("num_processes", "envs_per_process", "seed")
        )
        if config.exchange != "barrier" or not saved or not same:
            return []
        return [pack(worker) for worker in saved]


def _shared_memory(
    config: Config,
    spaces: Spaces,
    *,
    num_parameters: int,
    kfac: KFACMemory | None,
    context: BaseContext,
) -> SharedMemory:
    """Allocate all that the processes share, filled with zeros."""
    num_workers = config.num_processes

    def rows(num_statistics: int) -> SharedTensor:
        size = SharedNormaliser.row_size(num_statistics)
        return SharedTensor(num_workers, size, dtype=torch.float64, context=context)

    barrier = None
    if config.exchange == "barrier":
        barrier = BarrierMemory.create(num_workers, num_parameters, context=context)
    statistics_size = optimizer_statistics_size(config, num_parameters, kfac)
    return SharedMemory(
        parameters=SharedTensor(num_parameters, dtype=torch.float32, context=context),
        statistics=SharedTensor(statistics_size, dtype=torch.float32, context=context),
        normaliser=rows(spaces.num_statistics),
        returns=rows(1),
        progress=ProgressTable(num_workers, context=context),
        barrier=barrier,
        kfac=kfac,
    )
