"""The test worker: plays snapshots of the shared policy, keeps the best one, records video."""

import contextlib
import os
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from envs.ids import ResolvedId
from envs.make import make
from envs.normaliser import SharedNormaliser
from envs.reasons import reason
from envs.video import VideoWriter
from workers.camera import Camera
from workers.memory import SharedMemory
from workers.play import Frame, play_episodes
from workers.process import cores, prepare_child
from workers.records import checkpoint
from workers.records.appender import Guard
from workers.records.board import GIF_FRAMES, Board, thumbnail
from workers.records.curve import draw_curve
from workers.records.evaluation import Evaluation
from workers.records.run_folder import RunFolder
from workers.records.thinned import Thinned
from workers.settings.config import Config
from workers.settings.models import Spaces
from workers.snapshot import policy_state, restore_policy

NEVER = 1 << 62
EVALUATION_SEED = 10_000_019  # far from those that training environments draw


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


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """What the test worker sends to the main process after an evaluation."""

    evaluation: Evaluation
    seconds: float  # of the run, when the snapshot was taken
    is_best: bool
    video: Path | None  # of the first episode
    warning: str | None


def run_evaluator(task: EvaluatorTask, pipe: Connection) -> None:
    """Enter the test worker's process: evaluate every `eval_interval` seconds and on request."""
    with open(task.folder.log, "a") as log:
        prepare_child("a3c test worker", log)
        if hasattr(os, "nice"):
            os.nice(_niceness(task.config))
        try:
            _serve(Evaluator(task, pipe), task.config.eval_interval, pipe)
        except (EOFError, BrokenPipeError):
            return
        except BaseException:
            pipe.send(traceback.format_exc())
            raise SystemExit(1) from None


def _niceness(config: Config) -> int:
    if config.eval_nice is not None:
        return config.eval_nice
    # Against many workers per core, an evaluation of lower priority would take far too long.
    # One of equal priority costs so many workers little.
    return 0 if config.num_processes > cores() else 5


def _serve(evaluator: "Evaluator", interval: float, pipe: Connection) -> None:
    """Evaluate when the interval is over.

    Messages: "last" asks for an evaluation with a video at once, "draw" for the curve.
    """
    due = time.monotonic() + interval
    while True:
        wait = max(0.0, due - time.monotonic()) if interval else None
        message = pipe.recv() if pipe.poll(wait) else "due"
        if message == "draw":
            evaluator.draw_curve()
            continue
        report = evaluator.evaluate(is_last=message == "last")
        if report is not None:
            pipe.send(report)
        due = time.monotonic() + interval


class Evaluator:
    """Plays the same seeds each time, on raw rewards, with a snapshot's weights and scaling."""

    def __init__(self, task: EvaluatorTask, pipe: Connection) -> None:
        config = task.config
        self._task, self._config, self._pipe = task, config, pipe
        self._normaliser = SharedNormaliser(task.memory.normaliser.tensor.numpy())
        self._best_mean, self._episodes_done = task.best_mean, task.episodes_done
        self._next_video = task.episodes_done
        self._warning: str | None = None
        length = config.max_episode_length
        self._environments = [
            make(task.environment, training=False, max_episode_length=length)
            for _ in range(config.eval_episodes)
        ]
        self._board = Board(task.folder.tensorboard, Guard(self._warn))
        self._camera = Camera(task.environment, max_episode_length=length)

    def evaluate(self, *, is_last: bool) -> EvaluationReport | None:
        """Evaluate the current policy; return None if a message arrives meanwhile."""
        snapshot = self._take_snapshot()
        seconds = time.monotonic() - self._task.began
        self._warning = None
        with contextlib.ExitStack() as stack:
            thumbnails: Thinned[Frame] = Thinned(GIF_FRAMES)
            film = self._film(snapshot["steps"]) if self._video_due(is_last=is_last) else None
            if film is not None:
                stack.enter_context(film)
            evaluation = self._play(snapshot, film, thumbnails)
            if evaluation is None and film is not None:
                film.discard()
        if evaluation is None:
            return None
        if film is not None and self._config.tensorboard:
            self._show(thumbnails, evaluation.steps)
        is_best = self._keep_if_best(snapshot, evaluation)
        self._count(evaluation, filmed=film is not None)
        return EvaluationReport(
            evaluation=evaluation,
            seconds=seconds,
            is_best=is_best,
            video=film.path if film is not None and film.path.exists() else None,
            warning=self._warning,
        )

    def draw_curve(self) -> None:
        """Draw what the run has learned so far; after an error the next call draws it."""
        with contextlib.suppress(OSError):
            draw_curve(self._task.folder, title=self._task.title)

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
        self,
        snapshot: dict[str, Any],
        film: VideoWriter | None,
        thumbnails: Thinned[Frame],
    ) -> Evaluation | None:
        model, _, _ = restore_policy(snapshot)
        environments = list(self._environments)
        if film is not None:
            environments[0] = self._camera.environment(pictures=True)
        evaluation = play_episodes(
            model,
            environments,
            seeds=[EVALUATION_SEED + i for i in range(len(environments))],
            sampled=self._config.eval_sampled,
            steps=snapshot["steps"],
            on_frame=None if film is None else self._filming(film, thumbnails),
            interrupted=self._interrupted,
        )
        self._task.memory.progress.tester_heartbeat = 0
        return evaluation

    def _interrupted(self) -> bool:
        """Note the time as a sign of life; return whether a message has arrived."""
        self._task.memory.progress.tester_heartbeat = time.monotonic_ns()
        return self._pipe.poll()

    def _filming(self, film: VideoWriter, thumbnails: Thinned[Frame]) -> Callable[[Frame], None]:
        def on_frame(frame: Frame) -> None:
            self._attempt("record the video", lambda: film.write(frame))
            thumbnails.add(thumbnail(frame))

        return on_frame

    def _show(self, thumbnails: Thinned[Frame], steps: int) -> None:
        """Show the film in TensorBoard, from an event file of this process."""
        fps = self._camera.frames_per_second / thumbnails.stride
        self._board.video("video/eval", thumbnails.items, steps, fps)
        self._board.flush()

    def _keep_if_best(self, snapshot: dict[str, Any], evaluation: Evaluation) -> bool:
        mean = evaluation.mean
        is_best = mean > self._best_mean and self._attempt(
            "keep the best policy",
            lambda: checkpoint.save(self._task.folder.best, {**snapshot, "mean": mean}),
        )
        if is_best:
            self._best_mean = mean
        return is_best

    def _count(self, evaluation: Evaluation, *, filmed: bool) -> None:
        """Count the episodes; after a film, the next is due at the next multiple of an interval."""
        self._episodes_done += len(evaluation.returns)
        if filmed:
            interval = self._config.video_interval
            self._next_video = self._episodes_done - self._episodes_done % interval + interval

    def _video_due(self, *, is_last: bool) -> bool:
        """Film the first episode, one in every interval, and the last policy.

        Never film an environment that has failed to draw.
        """
        due = self._episodes_done >= self._next_video or (is_last and self._next_video < NEVER)
        return self._config.video_interval > 0 and due

    def _film(self, steps: int) -> VideoWriter | None:
        """Start a video of the first environment; return None, this time and later, if it fails."""
        try:
            self._camera.environment(pictures=True).reset(seed=EVALUATION_SEED)
            return self._camera.film(self._task.folder.videos / f"eval_{steps:012d}.mp4")
        except Exception as problem:  # OpenGL fails in many ways; none of them may end the run
            self._next_video = NEVER
            self._warning = f"no video: the environment can't be rendered here ({reason(problem)})"
            return None

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
