"""Episodes of a fixed policy one after another: in a window, into a video, or unseen."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import gymnasium

from a3c.networks.actor_critic import ActorCritic
from workers.camera import Camera, Watched, trouble
from workers.play import play_episodes
from workers.records.evaluation import Evaluation


class Show:
    """Plays episodes, and draws them as long as that works: no score waits for a picture."""

    def __init__(
        self,
        model: ActorCritic,
        camera: Camera,
        *,
        sampled: bool,
        steps: int,
        window: bool,
        video: Path | None,
        tell: Callable[[str], None],
    ) -> None:
        """Show every episode in a `window`, or film the first one to `video`.

        `sampled` and `steps` are those of `play_episodes`. `tell` is given one sentence if nothing
        can be drawn, and one for each faulty number of the environment, which ends its episode.
        """
        self._model, self._camera, self._sampled, self._steps = model, camera, sampled, steps
        self._window, self._video, self._tell = window, video, tell
        self.filmed: Path | None = None  # the video, once it is complete

    def play(self, seed: int) -> Evaluation:
        """Play one episode."""
        video, self._video = self._video, None
        if not self._window and video is None:
            return self._episode(self._camera.environment(pictures=False), seed)
        with contextlib.ExitStack() as stack:
            film = None
            try:
                environment = self._camera.environment(pictures=True)
                if video is not None:
                    environment.reset(seed=seed)
                    film = stack.enter_context(self._camera.film(video))
            except Exception as error:  # drawing fails in many ways; none may cost a score
                self._give_up(trouble(error))
                return self._episode(self._camera.environment(pictures=False), seed)
            watched = Watched(environment, self._camera.show if film is None else film.write)
            played = self._episode(watched, seed)
            if watched.trouble is not None:
                self._give_up(watched.trouble)
                if film is not None:
                    film.discard()
        if film is not None and film.written:
            self.filmed = film.path
        return played

    def _episode(self, environment: gymnasium.Env, seed: int) -> Evaluation:
        played = play_episodes(
            self._model,
            [environment],
            seeds=[seed],
            sampled=self._sampled,
            steps=self._steps,
            on_fault=lambda fault: self._tell(f"an episode has no score: {fault}"),
        )
        assert played is not None
        return played

    def _give_up(self, reason: str) -> None:
        self._tell(f"no {'window' if self._window else 'video'}: {reason}")
        self._window = False
