"""The Arcade Learning Environment's games, loaded once."""

from __future__ import annotations

from typing import Any

from ale_py.env import AtariEnv


class Emulator(AtariEnv):
    """AtariEnv that is seeded when it is made: the first reset with that seed need not load the game again, which takes 90 ms."""

    def __init__(self, *, seed: int | None = None, **kwargs: Any) -> None:
        self._loaded_with = seed
        super().__init__(**kwargs)

    def seed_game(self, seed: int | None = None) -> tuple[int, int]:
        """As AtariEnv; without a seed, that of the constructor."""
        return super().seed_game(self._loaded_with if seed is None else seed)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """As AtariEnv."""
        is_loaded = seed is not None and seed == self._loaded_with
        self._loaded_with = None  # from here on steps and resets draw random numbers
        return super().reset(seed=None if is_loaded else seed, options=options)
