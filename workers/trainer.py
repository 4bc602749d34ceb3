"""A training worker's life: `Trainer.run`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from a3c.algorithm import Algorithm
from a3c.networks.actor_critic import ActorCritic
from a3c.segment import Segment
from envs.normaliser import RewardScale, SharedNormaliser
from envs.state import DoesNotFit, Unsaveable
from workers.actor import Actor
from workers.learner import Learner
from workers.memory import SharedMemory
from workers.messages import Message, Warned
from workers.preparation import Preparation
from workers.progress import WorkerRow
from workers.resume import NewEpisodes, Report, load_random_state, pack, random_state, unpack


@dataclass(kw_only=True)
class Trainer:
    """A worker: acts on a local copy of the parameters, pushes gradients to the shared ones.

    The exchange decides which worker waits for which.
    """

    worker: int
    model: ActorCritic  # whose parameters and scaling actor and learner use
    actor: Actor
    algorithm: Algorithm
    learner: Learner
    preparations: Sequence[Preparation]  # of every segment, in order
    reward_scale: RewardScale
    normaliser: SharedNormaliser | None  # of observations; None where they are not normalised
    memory: SharedMemory
    num_env_steps: int  # of all workers, after which the run is over
    send: Callable[[Message], None]  # to the main process

    def __post_init__(self) -> None:
        self._progress = self.memory.progress
        self._row = WorkerRow(self._progress, self.worker)
        self._reports_sent = self._progress.reports_wanted
        self._warned_of_faults = False

    def run(self) -> None:
        """Pull; until finished play a segment, and for each batch differentiate, push, pull."""
        average = self.learner.exchange.average
        self.learner.pull()
        while not self.finished():
            segment = self.prepare(self.actor.play())
            for batch in self.algorithm.batches(segment, average):
                contribution = self.learner.gradient(batch)
                if self.algorithm.ends(contribution.statistics, average):
                    break
                self.learner.push(contribution)
                self.learner.pull()
            self.close(segment)

    def finished(self) -> bool:
        """Return whether the run is over; at a barrier all workers get the same answer.

        It is called before each segment: it also sets the learning rate's steps and the scaling of
        observations, and at a barrier it reports, if that was asked for or the run is over.
        """
        exchange, progress = self.learner.exchange, self._progress
        lost, to_report = exchange.lost, progress.reports_wanted > self._reports_sent
        seen = [progress.total("steps"), progress.stopping, to_report]
        means = exchange.average(torch.tensor(seen, dtype=torch.float64))
        steps, stopping, somebody_to_report = means.tolist()
        self.learner.learning_rate.steps = int(steps)
        if self.normaliser is not None:
            _, mean, std = self.normaliser.merged()
            self.model.set_scaling(torch.from_numpy(mean), torch.from_numpy(std))
        # A replacement goes on where its predecessor went on.
        finished = not lost and bool(stopping > 0 or steps >= self.num_env_steps)
        if not exchange.asynchronous:
            if not lost and (finished or somebody_to_report > 0):
                self._report(int(steps))
            # Before this meeting nobody goes on and changes what worker 0 copies.
            exchange.meet()
        return finished

    def prepare(self, segment: Segment) -> Segment:
        """Return the segment after all preparations."""
        for preparation in self.preparations:
            segment = preparation(segment)
        return segment

    def close(self, segment: Segment) -> None:
        """End a segment: statistics, counters, a new round. FloatingPointError of the learner."""
        self._count_faults()
        self.learner.close(segment)
        self.observe(segment.observations)
        self._row.add("segments", 1)
        self.learner.exchange.begin_round()

    def _count_faults(self) -> None:
        """Count the faulty episodes; warn of the first."""
        faults = self.actor.environments.take_faults()
        self._row.add("faulty_episodes", len(faults))
        if faults and not self._warned_of_faults:
            self._warned_of_faults = True
            self.send(Warned(f"{faults[0]}; the episode was ended and is not counted"))

    def observe(self, observations: torch.Tensor) -> None:
        """Add observations [T, B, ...] to the statistics that scale the next segment's."""
        if self.normaliser is not None:
            self.normaliser.update(self.worker, observations.flatten(0, 1).numpy())

    def state(self) -> dict[str, Any]:
        """Return what an exact resume needs of this worker, in plain containers. Unsaveable."""
        return {
            "actor": self.actor.state(),
            "reward_scale": self.reward_scale.state(),
            "learner": self.learner.state(),
            "random": random_state(),
        }

    def load_state(self, packed: bytes) -> None:
        """Go on where a `state`, packed here, was taken.

        Environments that it does not fit begin new episodes, and a message says so.
        """
        state = unpack(packed)
        try:
            self.actor.load_state(state["actor"])
            self.reward_scale.load_state(state["reward_scale"])
        except DoesNotFit as problem:
            self.send(NewEpisodes(str(problem)))
            self.observe(torch.from_numpy(self.actor.environments.observations[None]))
        self.learner.load_state(state.get("learner", {}))  # earlier versions had none
        load_random_state(state["random"])

    def _report(self, steps: int) -> None:
        self._reports_sent = self._progress.reports_wanted
        own, problem = None, ""
        try:
            own = pack(self.state())
        except Unsaveable as unsaveable:
            problem = str(unsaveable)
        shared = pack(self.memory.copy()) if self.worker == 0 else None
        self.send(Report(steps=steps, own=own, shared=shared, problem=problem))
