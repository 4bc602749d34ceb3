"""The test worker: plays snapshots of the shared policy, keeps the best one, records video and draws the curve."""

import contextlib
import faulthandler
import os
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from envs.ids import ResolvedId
from envs.make import frames_per_second, make
from envs.normaliser import SharedNormaliser
from envs.video import VideoWriter
from workers import checkpoint
from workers.config import Config
from workers.curve import draw_curve
from workers.play import Episodes, Frame, play_episodes
from workers.process import prepare_child
from workers.recipes import Spaces
from workers.run_folder import RunFolder
from workers.snapshot import policy_state, restore_policy
from workers.trainer import SharedMemory

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
    best_mean: float  # -inf before the first evaluation
    episodes_done: int


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What the test worker reports."""

    steps: int
    seconds: float  # since the test worker started
    returns: list[float]
    lengths: list[int]
    is_best: bool
    video: Path | None
    warning: str | None


def run_evaluator(task: EvaluatorTask, pipe: Connection) -> None:
    """Entry of the test worker's process: evaluates every `eval_interval` seconds, or when told to through the pipe."""
    prepare_child("a3c test worker")
    if hasattr(os, "nice"):
        os.nice(task.config.eval_nice)
    with open(task.folder.log, "a") as log:
        faulthandler.enable(log)
        try:
            _serve(Evaluator(task, pipe), task.config.eval_interval, pipe)
        except (EOFError, BrokenPipeError):
            return
        except BaseException:
            pipe.send(traceback.format_exc())
            raise SystemExit(1) from None


def _serve(evaluator: "Evaluator", interval: float, pipe: Connection) -> None:
    """Evaluates when the interval is over, or at once when told to; draws the curve when its report was filed."""
    due = time.monotonic() + interval
    while True:
        wait = max(0.0, due - time.monotonic()) if interval else None
        if pipe.poll(wait):
            pipe.recv()
        evaluation = evaluator.evaluate()
        if evaluation is not None:
            pipe.send(evaluation)
            pipe.recv()  # it is filed: the curve can be drawn with it
            evaluator.draw_curve()
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
        self._began = time.monotonic()
        self._environments = [self._make(render=False) for _ in range(config.eval_episodes)]
        self._camera: Any = None

    def _make(self, *, render: bool) -> Any:
        return make(self._task.environment, training=False, max_episode_length=self._config.max_episode_length, render=render)

    def evaluate(self) -> Evaluation | None:
        """One evaluation; None if the run told it to stop meanwhile."""
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
        frames: list[Frame] | None = [] if self._video_due() else None
        self._warning = None
        environments = self._environments
        if frames is not None and self._open_camera():
            environments = [self._camera, *environments[1:]]
        else:
            frames = None
        episodes = play_episodes(
            model,
            environments,
            seeds=seeds,
            sampled=self._config.eval_sampled,
            on_frame=None if frames is None else frames.append,
            interrupted=self._pipe.poll,
        )
        return None if episodes is None else self._file(state, episodes, frames)

    def _file(self, state: dict[str, Any], episodes: Episodes, frames: list[Frame] | None) -> Evaluation:
        steps, mean = state["steps"], sum(episodes.returns) / len(episodes.returns)
        self._episodes_done += len(episodes.returns)
        is_best = mean > self._best_mean
        if is_best:
            self._best_mean = mean
            self._attempt("keep the best policy", lambda: checkpoint.save(self._task.folder.best, {**state, "mean": mean}))
        video = self._task.folder.videos / f"eval_{steps:012d}.mp4"
        if frames:
            self._attempt("record the video", lambda: self._write_video(video, frames))
            self._next_video = self._episodes_done - self._episodes_done % self._config.video_interval
            self._next_video += self._config.video_interval
        return Evaluation(
            steps=steps,
            seconds=time.monotonic() - self._began,
            returns=episodes.returns,
            lengths=episodes.lengths,
            is_best=is_best,
            video=video if frames and video.exists() else None,
            warning=self._warning,
        )

    def draw_curve(self) -> None:
        """Draws what the run has learned so far; a curve that can't be drawn is drawn next time."""
        with contextlib.suppress(OSError):
            draw_curve(self._task.folder, title=self._task.title)

    def _video_due(self) -> bool:
        return self._config.video_interval > 0 and self._episodes_done >= self._next_video

    def _open_camera(self) -> bool:
        if self._camera is None:
            try:
                self._camera = self._make(render=True)
                self._camera.reset(seed=EVALUATION_SEED)
                self._camera.render()
            except Exception as problem:  # OpenGL fails in many ways, and a run must not end for want of pictures
                self._camera, self._next_video = None, 1 << 62
                self._warning = f"no video: the environment can't be rendered here ({problem})"
        return self._camera is not None

    def _write_video(self, path: Path, frames: list[Frame]) -> None:
        fps = frames_per_second(self._camera, self._task.environment)
        path.parent.mkdir(exist_ok=True)
        with VideoWriter(path, fps=fps, scale=max(1, 320 // frames[0].shape[1])) as video:
            for frame in frames:
                video.write(frame)

    def _attempt(self, what: str, action: Any) -> None:
        try:
            action()
        except Exception as problem:  # a full disk, say; training goes on
            self._warning = f"could not {what}: {problem}"
