"""Films of evaluations show the episode that was scored, or say that they do not."""

import numpy as np
import pytest

from envs.ids import resolve
from workers.camera import Camera
from workers.films import Films, Played


def films(folder, name="tests.envs.fakes:Drawn-v0", *, interval=100, done=0, **kwargs):
    camera = Camera(resolve(name, env_kwargs=kwargs), max_episode_length=100)
    return Films(camera, folder=folder, tensorboard=None, interval=interval, episodes_done=done)


def film(films, *, interrupted=lambda: False, return_=None):
    """Film an episode of right and wrong answers, whose return is `return_`."""
    actions = [np.int64(1)] * 5
    if return_ is None:
        env = Camera(resolve("tests.envs.fakes:Drawn-v0"), max_episode_length=100).environment(
            pictures=False
        )
        env.reset(seed=7)
        return_ = sum(env.step(action)[1] for action in actions)
    played = Played(steps=30, seed=7, actions=actions, end=(return_, 5))
    return films.film(played, interrupted=interrupted)


def test_a_film_shows_the_episode_that_was_scored(tmp_path):
    report = film(films(tmp_path))
    assert report.path == tmp_path / "eval_000000000030.mp4"
    assert report.path.exists()
    assert report.warning is None


def test_an_environment_that_does_not_repeat_itself_is_named_once(tmp_path):
    mine = films(tmp_path, repeats=False)
    warnings = [film(mine, return_=99.0).warning for _ in range(2)]
    assert "another episode than the one with return 99" in warnings[0]
    assert "self.np_random" in warnings[0]
    assert warnings[1] is None


def test_a_film_that_is_given_up_leaves_no_file(tmp_path):
    looks = iter([False, False, True])
    report = film(films(tmp_path), interrupted=lambda: next(looks))
    assert report.path is None
    assert report.warning is None
    assert not [*tmp_path.iterdir()]


def test_an_environment_that_cannot_be_drawn_is_tried_once(tmp_path):
    mine = films(tmp_path, "envs.toys:Bandit-v0")
    assert mine.is_due(episodes=5, is_last=False)
    assert film(mine).warning.startswith("no video: Bandit-v0 has no pictures: let its")
    assert not mine.is_due(episodes=500, is_last=True)


@pytest.mark.parametrize(
    ("interval", "expected"),
    [(0, [0, 0, 0, 0, 0]), (1, [1, 1, 1, 1, 1]), (10, [1, 0, 1, 0, 1]), (1000, [1, 0, 0, 0, 1])],
)
def test_when_films_are_due(tmp_path, interval, expected):
    mine = films(tmp_path, interval=interval)
    due = [mine.is_due(episodes=5, is_last=last) for last in (False, False, False, False, True)]
    assert due == [bool(number) for number in expected]
