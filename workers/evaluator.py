"""The test worker: plays snapshots of the shared policy, keeps the best one, records video and draws the curve."""

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
from envs.video import VideoWriter
from workers.camera import Camera
from workers.exact import SharedMemory
from workers.play import Episodes, Frame, play_episodes
from workers.process import cores, prepare_child
from workers.records import checkpoint
from workers.records.board import GIF_FRAMES, Board, thumbnail
from workers.records.curve import draw_curve
from workers.records.run_folder import Guard, RunFolder
from workers.records.thinned import Thinned
from workers.settings.config import Config
from workers.settings.recipes import Spaces
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
class Evaluation:
    """What the test worker reports."""

    steps: int
    seconds: float  # of the run, when the snapshot was taken
    returns: list[float]
    lengths: list[int]
    is_best: bool
    video: Path | None
    warning: str | None


def run_evaluator(task: EvaluatorTask, pipe: Connection) -> None:
    """Entry of the test worker's process: evaluates every `eval_interval` seconds, or when told to through the pipe."""
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
    # Against many workers a core, a lower priority would make an evaluation last for ever, and an equal one costs them little.
    return 0 if config.num_processes > cores() else 5


def _serve(evaluator: "Evaluator", interval: float, pipe: Connection) -> None:
    """Evaluates when the interval is over; told "last", evaluates and films; told "draw", draws the curve."""
    due = time.monotonic() + interval
    while True:
        wait = max(0.0, due - time.monotonic()) if interval else None
        message = pipe.recv() if pipe.poll(wait) else "due"
        if message == "draw":
            evaluator.draw_curve()
            continue
        evaluation = evaluator.evaluate(is_last=message == "last")
        if evaluation is not None:
            pipe.send(evaluation)
        due = time.monotonic() + interval


class Evaluator:
    """Plays the same seeds each time on raw rewards, with weights and scaling frozen at one moment."""

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

    def evaluate(self, *, is_last: bool) -> Evaluation | None:
        """One evaluation; None if the run has sent word meanwhile."""
        state = policy_state(
            config=self._config,
            environment=self._task.environment,
            spaces=self._task.spaces,
            parameters=self._task.memory.parameters.tensor,
            normaliser=self._normaliser,
            steps=self._task.memory.progress.total("steps"),
        )
        model, _, _ = restore_policy(state)
        seeds = [EVALUATION_SEED + i for i in range(self._config.eval_episodes)]
        self._warning = None
        seconds = time.monotonic() - self._task.began
        environments = list(self._environments)
        with contextlib.ExitStack() as stack:
            thumbnails: Thinned[Frame] = Thinned(GIF_FRAMES)
            film = self._film(state["steps"]) if self._video_due(is_last=is_last) else None
            if film is not None:
                environments[0] = self._camera.environment(pictures=True)
                stack.enter_context(film)
            episodes = play_episodes(
                model,
                environments,
                seeds=seeds,
                sampled=self._config.eval_sampled,
                on_frame=None if film is None else self._filming(film, thumbnails),
                interrupted=self._beat,
            )
            self._task.memory.progress.tester_heartbeat = 0
            if episodes is None and film is not None:
                film.discard()
        if episodes is None:
            return None
        if film is not None and self._config.tensorboard:
            self._show(thumbnails, state["steps"])
        return self._file(
            state, episodes, seconds=seconds, video=None if film is None else film.path
        )

    def _beat(self) -> bool:
        """Says that it lives, and hears whether the run has sent word."""
        self._task.memory.progress.tester_heartbeat = time.monotonic_ns()
        return self._pipe.poll()

    def _filming(self, film: VideoWriter, thumbnails: Thinned[Frame]) -> Callable[[Frame], None]:
        def on_frame(frame: Frame) -> None:
            self._attempt("record the video", lambda: film.write(frame))
            thumbnails.add(thumbnail(frame))

        return on_frame

    def _show(self, thumbnails: Thinned[Frame], steps: int) -> None:
        """Shows the film in TensorBoard, from an event file of this process's own."""
        fps = self._camera.frames_per_second / thumbnails.stride
        self._board.video("video/eval", thumbnails.items, steps, fps)
        self._board.flush()

    def _file(
        self, state: dict[str, Any], episodes: Episodes, *, seconds: float, video: Path | None
    ) -> Evaluation:
        steps, mean = state["steps"], sum(episodes.returns) / len(episodes.returns)
        self._episodes_done += len(episodes.returns)
        is_best = mean > self._best_mean and self._attempt(
            "keep the best policy",
            lambda: checkpoint.save(self._task.folder.best, {**state, "mean": mean}),
        )
        if is_best:
            self._best_mean = mean
        if video is not None:
            self._next_video = (
                self._episodes_done - self._episodes_done % self._config.video_interval
            )
            self._next_video += self._config.video_interval
        return Evaluation(
            steps=steps,
            seconds=seconds,
            returns=episodes.returns,
            lengths=episodes.lengths,
            is_best=is_best,
            video=video if video is not None and video.exists() else None,
            warning=self._warning,
        )

    def draw_curve(self) -> None:
        """Draws what the run has learned so far; a curve that can't be drawn is drawn next time."""
        with contextlib.suppress(OSError):
            draw_curve(self._task.folder, title=self._task.title)

    def _video_due(self, *, is_last: bool) -> bool:
        """Of the first episode, of one every interval, and of the last policy; never where nothing can be drawn."""
        due = self._episodes_done >= self._next_video or (is_last and self._next_video < NEVER)
        return self._config.video_interval > 0 and due

    def _film(self, steps: int) -> VideoWriter | None:
        """A video of the first environment; None, and no further try, where there is nothing to draw with."""
        try:
            self._camera.environment(pictures=True).reset(seed=EVALUATION_SEED)
            return self._camera.film(self._task.folder.videos / f"eval_{steps:012d}.mp4")
        except (
            Exception
        ) as problem:  # OpenGL fails in many ways, and a run must not end for want of pictures
            self._next_video = NEVER
            self._warning = f"no video: the environment can't be rendered here ({problem})"
            return None

    def _attempt(self, what: str, action: Callable[[], None]) -> bool:
        try:
            action()
        except Exception as problem:  # a full disk, say; training goes on
            self._warn(f"could not {what}: {problem}")
            return False
        return True

    def _warn(self, text: str) -> None:
        self._warning = text
