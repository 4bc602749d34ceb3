"""Random generators that environments hold go on where they were."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from tests.envs.graphs import held

BITS = [getattr(np.random, name) for name in ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")]


@pytest.mark.parametrize("bits", BITS)
def test_generators_go_on_and_so_do_those_that_they_spawn(bits):
    def build(env: Any) -> None:
        env.rng = np.random.Generator(bits(np.random.SeedSequence(3)))
        env.same = env.rng
        env.draw = env.rng.random

    def change(env: Any) -> None:
        env.rng.random(3, np.float32)
        env.children = env.rng.spawn(1)

    first, env = held(build, change)
    assert env.same is env.rng and env.draw.__self__ is env.rng
    draws = [
        (
            e.rng.integers(10, size=5).tolist(),
            e.draw(),
            e.rng.spawn(1)[0].random(),
            e.children[0].random(),
        )
        for e in (first, env)
    ]
    assert draws[0] == draws[1]


def test_former_generators_go_on():
    def build(env: Any) -> None:
        env.state, env.python = np.random.RandomState(3), random.Random(3)

    def change(env: Any) -> None:
        env.state.normal()
        env.python.gauss(0, 1)

    first, env = held(build, change)
    for draw in (lambda e: e.state.normal(size=3).tolist(), lambda e: e.python.gauss(0, 1)):
        assert draw(first) == draw(env)
