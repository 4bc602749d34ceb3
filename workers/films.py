"""Films of evaluations: the first episode of one, played again with its actions and drawn.

An evaluation is over, and its score filed, before anything is drawn: drawing may take a minute.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workers.camera import Camera, Watched, trouble
from workers.play import Episode, Frame, replay
from workers.records.appender import Guard
from workers.records.board import GIF_FRAMES, Board, thumbnail
from workers.records.thinned import Thinned

NEVER = 1 << 62


@dataclass(frozen=True, kw_only=True)
class Played:
    """An episode of an evaluation: all that is needed to play it again."""

    steps: int  # environment steps that its policy had been trained for
    seed: int
    actions: list[Any]
    end: Episode


@dataclass(frozen=True, kw_only=True)
class FilmReport:
    """What the test worker sends to the main process after it has filmed or tried to."""

    path: Path | None  # None if the film was given up
    return_: float  # of the episode that was scored
    warning: str | None = None


class Films:
    """Decides which evaluations are filmed, and films them. No failure ends the test worker."""

    def __init__(
        self,
        camera: Camera,
        *,
        folder: Path,
        tensorboard: Path | None,
        interval: int,
        episodes_done: int,
    ) -> None:
        """Film one in `interval` evaluation episodes, of which there were `episodes_done`; 0: none.

        The films lie in `folder`; small ones are shown in the folder `tensorboard`.
        """
        self._camera, self._folder = camera, folder
        self._board = None if tensorboard is None else Board(tensorboard, Guard(self._warn))
        self._interval, self._episodes_done = interval, episodes_done
        self._next = episodes_done if interval else NEVER
        self._warning: str | None = None
        self._warned_of_another = False

    def is_due(self, *, episodes: int, is_last: bool) -> bool:
        """Count the episodes of an evaluation; return whether to film its first one.

        Films are due of the first evaluation, of one episode in every interval, and of the last
        policy. Where drawing has failed once, none is due any more.
        """
        due = self._episodes_done >= self._next or (is_last and self._next < NEVER)
        if due:
            self._next = self._episodes_done - self._episodes_done % self._interval + self._interval
        self._episodes_done += episodes
        return due

    def film(self, played: Played, *, interrupted: Callable[[], bool]) -> FilmReport:
        """Play an episode again and film it; give it up if `interrupted`."""
        self._warning, path = None, None
        try:
            path = self._film(played, interrupted)
        except Exception as problem:  # OpenGL fails in many ways; none of them may end the run
            self._give_up(trouble(problem))
        return FilmReport(path=path, return_=played.end[0], warning=self._warning)

    def _film(self, played: Played, interrupted: Callable[[], bool]) -> Path | None:
        environment = self._camera.environment(pictures=True)
        environment.reset(seed=played.seed)
        thumbnails: Thinned[Frame] = Thinned(GIF_FRAMES)
        with self._camera.film(self._folder / f"eval_{played.steps:012d}.mp4") as film:

            def draw(frame: Frame) -> None:
                film.write(frame)
                thumbnails.add(thumbnail(frame))

            watched = Watched(environment, draw)
            end = replay(watched, seed=played.seed, actions=played.actions, interrupted=interrupted)
            if watched.trouble is not None:
                self._give_up(watched.trouble)
            if end is None or watched.trouble is not None:
                film.discard()
                return None
        self._compare(played.end, end)
        if self._board is not None:
            fps = self._camera.frames_per_second / thumbnails.stride
            self._board.video("video/eval", thumbnails.items, played.steps, fps)
            self._board.flush()
        return film.path if film.written else None

    def _give_up(self, why: str) -> None:
        """Film no more."""
        self._next = NEVER
        self._warn(f"no video: {why}")

    def _compare(self, scored: Episode, filmed: Episode) -> None:
        """Warn, once, if the filmed episode is not the one that was scored."""
        if self._warned_of_another or np.array_equal(scored, filmed, equal_nan=True):
            return
        self._warned_of_another = True
        self._warn(
            f"the video shows another episode than the one with return {scored[0]:.6g}: with the "
            "same seed and actions the environment plays otherwise; "
            "let it draw its random numbers from self.np_random"
        )

    def _warn(self, text: str) -> None:
        self._warning = text
