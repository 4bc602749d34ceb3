"""The main process's side of the test worker: keeps it alive, and files what it reports."""

import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import numpy as np

from workers.console import Console
from workers.evaluator import Evaluation, EvaluatorTask, run_evaluator
from workers.pool import Child
from workers.records import Records
from workers.reporter import Reporter
from workers.run import Run

MAX_FAILURES = 3
FINAL_PATIENCE = 180.0  # seconds


class Evaluations:
    """Starts the test worker and replaces it when it dies; training never waits for it."""

    def __init__(
        self,
        run: Run,
        *,
        context: BaseContext,
        records: Records,
        console: Console,
        reporter: Reporter,
        warn: Callable[[str], None],
    ) -> None:
        self._run, self._context, self._records, self._console = run, context, records, console
        self._reporter, self._warn = reporter, warn
        self.last: Evaluation | None = None
        self.best_mean, self.episodes_done = run.best_mean, run.evaluated_episodes
        self._failures = 0
        self._child = self._start()

    @property
    def pipe(self) -> Connection:
        """Becomes readable when there is news."""
        return self._child.pipe

    @property
    def mean(self) -> float | None:
        """Mean return of the last evaluation."""
        return None if self.last is None else float(np.mean(self.last.returns))

    def _start(self) -> Child:
        run = self._run
        task = EvaluatorTask(
            config=run.config,
            environment=run.environment,
            spaces=run.spaces,
            memory=run.memory,
            folder=run.folder,
            title=run.title,
            began=self._reporter.began,
            best_mean=self.best_mean,
            episodes_done=self.episodes_done,
        )
        return Child(target=run_evaluator, task=task, name="test worker", context=self._context)

    def listen(self) -> None:
        """Files what has been reported, and replaces a dead test worker."""
        for message in self._child.messages():
            if isinstance(message, Evaluation):
                self._file(message)
                self._child.send("draw")
            else:
                self._records.log(message)
        if self._failures < MAX_FAILURES and not self._child.process.is_alive():
            self._failures += 1
            then = "no more evaluations" if self._failures == MAX_FAILURES else "replaced"
            self._warn(f"the test worker died ({self._child.cause_of_death()}): {then}, training goes on")
            if self._failures < MAX_FAILURES:
                self._child.end(patience=0.0)
                self._child = self._start()

    def once_more(self, *, interrupted: Callable[[], bool]) -> None:
        """Evaluates the final policy, and waits for it a while."""
        deadline = time.monotonic() + FINAL_PATIENCE
        self._child.send("evaluate")
        while time.monotonic() < deadline and not interrupted() and self._failures < MAX_FAILURES:
            self._child.pipe.poll(0.2)
            failures = self._failures
            self.listen()
            if self._failures > failures:
                self._child.send("evaluate")
            if self.last is not None and self.last.steps >= self._reporter.steps:
                return
        self._warn("the last evaluation was given up")

    def end(self) -> None:
        """Ends the test worker now."""
        self._child.end(patience=0.0)

    def _file(self, evaluation: Evaluation) -> None:
        self.last = evaluation
        self.episodes_done += len(evaluation.returns)
        mean = float(np.mean(evaluation.returns))
        self.best_mean = max(self.best_mean, mean)
        self._records.evaluation(steps=evaluation.steps, returns=evaluation.returns, lengths=evaluation.lengths)
        self._console.classic(
            seconds=self._reporter.seconds,
            steps=evaluation.steps,
            fps=(evaluation.steps - self._run.start_steps) / max(evaluation.seconds - self._run.elapsed, 1e-9),
            reward=mean,
            length=round(float(np.mean(evaluation.lengths))),
        )
        if evaluation.video is not None:
            self._console.line(f"video of the first episode: {evaluation.video}")
            if self._run.config.tensorboard:
                frames, fps = read_video(evaluation.video)
                self._records.video(evaluation.video, frames, evaluation.steps, fps)
        if evaluation.warning is not None:
            self._warn(evaluation.warning)


def read_video(path: Path) -> tuple[list[Any], float]:
    """The RGB frames [H, W, 3] of a video and its frames per second."""
    import cv2

    video = cv2.VideoCapture(str(path))
    frames = []
    while True:
        there, frame = video.read()
        if not there:
            break
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    return frames, float(video.get(cv2.CAP_PROP_FPS)) or 30.0
