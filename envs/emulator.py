"""The Arcade Learning Environment's games, loaded once, and saved with the action that is held."""

from __future__ import annotations

from typing import Any

from ale_py.env import AtariEnv

NOOP = 0  # its index in every game's actions


class Emulator(AtariEnv):
    """AtariEnv that is seeded when it is made: the first reset with that seed need not load the game again, which takes 90 ms.

    Sticky actions (Machado et al. 2018) are drawn here: which action the emulator would repeat is not part of the state that it
    saves.
    """

    def __init__(
        self, *, seed: int | None = None, repeat_action_probability: float = 0.25, **kwargs: Any
    ) -> None:
        self._loaded_with, self._held = seed, NOOP
        self.repeat_action_probability = repeat_action_probability
        self._draws = repeat_action_probability > 0 and not kwargs.get("continuous")
        super().__init__(
            repeat_action_probability=0.0 if self._draws else repeat_action_probability, **kwargs
        )

    def seed_game(self, seed: int | None = None) -> tuple[int, int]:
        """As AtariEnv; without a seed, that of the constructor."""
        return super().seed_game(self._loaded_with if seed is None else seed)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, Any]:
        """As AtariEnv."""
        is_loaded = seed is not None and seed == self._loaded_with
        self._loaded_with, self._held = (
            None,
            NOOP,
        )  # from here on steps and resets draw random numbers
        return super().reset(seed=None if is_loaded else seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, Any]:
        """As AtariEnv: each frame repeats the last one's action with `repeat_action_probability`, or takes the new one."""
        if not self._draws:
            return super().step(action)
        skip, reward = self._frameskip, 0.0
        for draw in self.np_random.random(
            skip if isinstance(skip, int) else int(self.np_random.integers(*skip))
        ):
            if draw >= self.repeat_action_probability:
                self._held = int(action)
            reward += self.ale.act(self._action_set[self._held])
        terminated = self.ale.game_over(with_truncation=False)
        return self._get_obs(), reward, terminated, self.ale.game_truncated(), self._get_info()
