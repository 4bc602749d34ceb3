"""The Arcade Learning Environment's games, loaded once, with sticky actions that can be saved."""

from __future__ import annotations

from typing import Any

from ale_py.env import AtariEnv

NOOP = 0  # index of "do nothing" in every game's actions


class Emulator(AtariEnv):
    """AtariEnv that is seeded in its constructor and draws sticky actions itself.

    The first reset with the constructor's seed need not load the game again, which takes 90 ms.
    Sticky actions (Machado et al. 2018) are drawn here because the state that the emulator saves
    does not tell which action it would repeat.
    """

    def __init__(
        self, *, seed: int | None = None, repeat_action_probability: float = 0.25, **kwargs: Any
    ) -> None:
        # Saved states hold these attributes by name, so their names must stay.
        self._loaded_with = seed
        self._held = NOOP
        self.repeat_action_probability = repeat_action_probability
        self._draws = repeat_action_probability > 0 and not kwargs.get("continuous")
        super().__init__(
            repeat_action_probability=0.0 if self._draws else repeat_action_probability, **kwargs
        )

    @property
    def held_action(self) -> int:
        """Index of the action that the last frame played, if sticky actions are drawn here."""
        return self._held

    def seed_game(self, seed: int | None = None) -> tuple[int, int]:
        """Seed as AtariEnv does; without a seed, use the constructor's."""
        return super().seed_game(self._loaded_with if seed is None else seed)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, Any]:
        """Reset as AtariEnv does, but skip loading the game if `seed` is the constructor's."""
        is_loaded = seed is not None and seed == self._loaded_with
        # From here on, steps and resets draw random numbers: the next reset must load the game.
        self._loaded_with = None
        self._held = NOOP
        return super().reset(seed=None if is_loaded else seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, Any]:
        """Step as AtariEnv does.

        Each frame repeats the last frame's action with `repeat_action_probability`, and plays
        `action` otherwise.
        """
        if not self._draws:
            return super().step(action)
        skip = self._frameskip
        num_frames = skip if isinstance(skip, int) else int(self.np_random.integers(*skip))
        reward = 0.0
        for draw in self.np_random.random(num_frames):
            if draw >= self.repeat_action_probability:
                self._held = int(action)
            reward += self.ale.act(self._action_set[self._held])
        terminated = self.ale.game_over(with_truncation=False)
        return self._get_obs(), reward, terminated, self.ale.game_truncated(), self._get_info()
