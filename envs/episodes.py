"""What is counted, cut and clipped around any environment."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

Step = tuple[Any, float, bool, bool, dict[str, Any]]


class EpisodeStatistics(gym.Wrapper[Any, Any, Any, Any]):
    """Puts `info["episode"] = {"r": return, "l": steps}` on a game's last step, rewards as they come from below."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._return = 0.0
        self._length = 0

    def step(self, action: Any) -> Step:
        """One step, counted."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        reward = float(reward)
        self._return += reward
        self._length += 1
        if terminated or truncated:
            info["episode"] = {"r": self._return, "l": self._length}
        return observation, reward, terminated, truncated, info

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Count from nothing; a game given up in the middle is not reported."""
        self._return, self._length = 0.0, 0
        return self.env.reset(**kwargs)


class ClipReward(gym.Wrapper[Any, Any, Any, Any]):
    """The reward's sign, or the reward clipped to [-1, 1]; for training only (Mnih et al., 2015)."""

    def __init__(self, env: gym.Env[Any, Any], *, sign: bool) -> None:
        super().__init__(env)
        self._sign = sign

    def step(self, action: Any) -> Step:
        """One step; 0 and not-a-number stay what they are."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        reward = float(reward)
        if self._sign:
            reward = 1.0 if reward > 0 else -1.0 if reward < 0 else reward
        else:
            reward = 1.0 if reward > 1 else -1.0 if reward < -1 else reward
        return observation, reward, terminated, truncated, info
