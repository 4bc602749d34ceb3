"""The test worker: plays snapshots of the shared policy, keeps the best one, records video."""

import contextlib
import os
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from envs.episodes import Points
from envs.ids import ResolvedId
from envs.make import make
from envs.normaliser import SharedNormaliser
from envs.reasons import reason
from workers.camera import Camera
from workers.entry import close_in_time
from workers.films import Films, Played
from workers.memory import SharedMemory
from workers.play import play_episodes
from workers.process import cores, open_log, prepare_child
from workers.progress import ProgressTable
from workers.records import checkpoint
from workers.records.curve import draw_curve
from workers.records.evaluation import Evaluation
from workers.records.run_folder import RunFolder
from workers.settings.config import Config
from workers.settings.models import Spaces
from workers.snapshot import policy_state, restore_policy

EVALUATION_SEED = 10_000_019  # far from those that training environments draw
LONG_WORK = 30.0  # seconds that may pass without a sign of life, beside --worker-timeout


@dataclass(frozen=True, kw_only=True)
class EvaluatorTask:
    """What the test worker is given."""

    config: Config
    environment: ResolvedId
    spaces: Spaces
    memory: SharedMemory
    folder: RunFolder
    title: str
    began: float  # monotonic seconds at which the run's clock stood at 0
    best_mean: float  # -inf before the first evaluation
    episodes_done: int
    films: bool  # whether it may draw


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """What the test worker sends to the main process after an evaluation."""

    evaluation: Evaluation
    seconds: float  # of the run, when the snapshot was taken
    updates: int  # of the optimizer, until then
    is_best: bool
    warning: str | None  # about what could not be written
    notice: str | None  # about the games
    film_follows: bool  # a FilmReport of the first episode comes later


class Requests:
    """What the main process asks for: "draw" the curve, the "last" evaluation, or an "end".

    Every look at them is a sign of life.
    """

    def __init__(self, pipe: Connection, progress: ProgressTable, *, timeout: float) -> None:
        """A silence of `timeout` seconds counts as a hang."""
        self._pipe, self._progress = pipe, progress
        self._longest_wait = min(1.0, timeout / 4)
        self._wanted: set[str] = set()

    def wait(self, until: float | None) -> None:
        """Wait for a request, until a monotonic second if it is given."""
        while not self.any("draw", "last", "end"):
            left = self._longest_wait if until is None else until - time.monotonic()
            if left <= 0:
                return
            self._pipe.poll(min(left, self._longest_wait))

    def any(self, *words: str) -> bool:
        """Return whether something of this is asked for."""
        self.allow(0.0)
        while self._pipe.poll():
            self._wanted.add(self._pipe.recv())
        return not self._wanted.isdisjoint(words)

    def take(self, word: str) -> bool:
        """Return whether this was asked for, once."""
        asked = word in self._wanted
        self._wanted.discard(word)
        return asked

    def allow(self, seconds: float) -> None:
        """Give a sign of life that stands for the next `seconds`, too."""
        self._progress.tester_heartbeat = time.monotonic_ns() + int(seconds * 1e9)


def run_evaluator(task: EvaluatorTask, pipe: Connection) -> None:
    """Enter the test worker's process: evaluate every `eval_interval` seconds and on request."""
    with open_log(task.folder.log) as log:
        prepare_child("a3c test worker", log)
        if hasattr(os, "nice"):
            os.nice(_niceness(task.config))
        requests = Requests(pipe, task.memory.progress, timeout=task.config.worker_timeout)
        evaluator = None
        try:
            requests.allow(LONG_WORK)
            evaluator = Evaluator(task, pipe, requests)
            _serve(evaluator, requests, task.config.eval_interval)
        except (EOFError, BrokenPipeError):
            return
        except BaseException:
            pipe.send(traceback.format_exc())
            raise SystemExit(1) from None
        finally:
            if evaluator is not None:
                close_in_time(evaluator.close)


def _niceness(config: Config) -> int:
    if config.eval_nice is not None:
        return config.eval_nice
    # Against many workers per core, an evaluation of lower priority would take far too long.
    # One of equal priority costs so many workers little.
    return 0 if config.num_processes > cores() else 5


def _serve(evaluator: "Evaluator", requests: Requests, interval: float) -> None:
    """Evaluate when the interval is over, or at once when the last evaluation is asked for."""
    due = time.monotonic() + interval if interval else None
    draws = True
    while not requests.any("end"):
        requests.wait(due)
        if requests.take("draw") and draws and not requests.any("last", "end"):
            evaluator.draw_curve()
        is_last = requests.take("last")
        draws = draws and not is_last  # the last curve is drawn by the main process
        if is_last or (due is not None and time.monotonic() >= due):
            evaluator.evaluate(is_last=is_last)
            due = time.monotonic() + interval if interval else None


class Evaluator:
    """Plays the same seeds each time, on raw rewards, with a snapshot's weights and scaling."""

    def __init__(self, task: EvaluatorTask, pipe: Connection, requests: Requests) -> None:
        config = task.config
        self._task, self._config, self._pipe, self._requests = task, config, pipe, requests
        self._normaliser = SharedNormaliser(task.memory.normaliser.tensor.numpy())
        self._best_mean = task.best_mean
        self._warning: str | None = None
        self._warned_of_one_game = False
        length = config.max_episode_length
        self._environments = [
            Points(make(task.environment, training=False, max_episode_length=length))
            for _ in range(config.eval_episodes)
        ]
        self._camera = Camera(task.environment, max_episode_length=length)
        self._films = Films(
            self._camera,
            folder=task.folder.videos,
            tensorboard=task.folder.tensorboard if config.tensorboard else None,
            interval=config.video_interval if task.films else 0,
            episodes_done=task.episodes_done,
        )

    def evaluate(self, *, is_last: bool) -> None:
        """Evaluate the current policy, send the score, and then film the first episode if due.

        Give up what is not done when the last evaluation or the end is asked for.
        """
        self._warning = None
        snapshot, updates = self._take_snapshot(), self._task.memory.progress.total("updates")
        seconds = time.monotonic() - self._task.began
        actions: list[Any] = []
        evaluation = self._play(snapshot, actions.append)
        if evaluation is None:
            return
        film_follows = self._films.is_due(episodes=len(evaluation.returns), is_last=is_last)
        self._pipe.send(
            EvaluationReport(
                evaluation=evaluation,
                seconds=seconds,
                updates=updates,
                is_best=self._keep_if_best(snapshot, evaluation),
                warning=self._warning,
                notice=self._one_game(),
                film_follows=film_follows,
            )
        )
        if film_follows:
            end = evaluation.returns[0], evaluation.lengths[0]
            played = Played(steps=evaluation.steps, seed=EVALUATION_SEED, actions=actions, end=end)
            self._requests.allow(LONG_WORK)
            self._pipe.send(self._films.film(played, interrupted=self._interrupted))

    def draw_curve(self) -> None:
        """Draw what the run has learned so far; after an error the next call draws it."""
        self._requests.allow(LONG_WORK)
        with contextlib.suppress(OSError):
            draw_curve(self._task.folder, title=self._task.title)

    def close(self) -> None:
        """Close the environments; one that can't be closed must not keep the others open."""
        for close in (*(env.close for env in self._environments), self._camera.close):
            with contextlib.suppress(Exception):
                close()

    def _take_snapshot(self) -> dict[str, Any]:
        return policy_state(
            config=self._config,
            environment=self._task.environment,
            spaces=self._task.spaces,
            parameters=self._task.memory.parameters.tensor,
            normaliser=self._normaliser,
            steps=self._task.memory.progress.total("steps"),
        )

    def _play(
        self, snapshot: dict[str, Any], on_action: Callable[[Any], None]
    ) -> Evaluation | None:
        model, _, _ = restore_policy(snapshot)
        return play_episodes(
            model,
            [*self._environments],
            seeds=[EVALUATION_SEED + i for i in range(len(self._environments))],
            sampled=self._config.eval_sampled,
            steps=snapshot["steps"],
            on_action=on_action,
            on_fault=lambda fault: self._warn(f"an evaluation's episode has no return: {fault}"),
            interrupted=self._interrupted,
        )

    def _interrupted(self) -> bool:
        return self._requests.any("last", "end")

    def _one_game(self) -> str | None:
        """Return a warning, once, if the most probable actions led to one game several times."""
        episodes = len(self._environments)
        games = {environment.points for environment in self._environments}
        told = self._warned_of_one_game or self._config.eval_sampled
        if told or self._task.environment.family != "atari" or len(games) == episodes:
            return None
        self._warned_of_one_game = True
        return (
            f"the {episodes} games of an evaluation are only {len(games)}, by the frames at which "
            "their points fall: the emulator is deterministic, and so are the most probable "
            "actions; --eval-sampled draws them"
        )

    def _keep_if_best(self, snapshot: dict[str, Any], evaluation: Evaluation) -> bool:
        mean = evaluation.mean
        is_best = mean > self._best_mean and self._attempt(
            "keep the best policy",
            lambda: checkpoint.save(self._task.folder.best, {**snapshot, "mean": mean}),
        )
        if is_best:
            self._best_mean = mean
        return is_best

    def _attempt(self, what: str, action: Callable[[], None]) -> bool:
        """Call `action`; return whether it succeeded. A full disk, say, must not stop training."""
        try:
            action()
        except Exception as problem:
            self._warn(f"could not {what}: {reason(problem)}")
            return False
        return True

    def _warn(self, text: str) -> None:
        self._warning = text
