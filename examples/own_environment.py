"""An environment of one's own: write it, register it, train on it.

    python examples/own_environment.py

is short for

    python main.py --env-name examples.own_environment:Catch-v0 --num-processes 2 \
        --envs-per-process 4 --lr 2e-3 --num-env-steps 5e4 --video-interval 0

and takes further flags of main.py. The best return is 1, and random actions get about -0.8.
After some ten seconds, the mean return of the last 100 training episodes is 1 or close to it.

For a file `mine.py` of your own, in any folder, start main.py in that folder with
`--env-name mine:NAME-v0`. Every process imports the module before the colon and then makes the
environment with the id after it. Observations may be vectors, or anything that gymnasium can
flatten. Actions may be Discrete, MultiDiscrete, MultiBinary or a Box of floating-point numbers.
"""

import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np


class Catch(gymnasium.Env[Any, Any]):
    """Catch a ball that falls for four steps: 1 for a catch, -1 for a miss.

    Actions: move the paddle left, leave it, move it right.
    Observes [columns from the paddle to the ball, rows above the paddle], both divided by 4.
    """

    observation_space = gymnasium.spaces.Box(-2.0, 2.0, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Drop a new ball, at most four columns away: it can always be caught."""
        super().reset(seed=seed)
        self.column = int(self.np_random.integers(-4, 5))
        self.row = 4
        return np.array([self.column, self.row], np.float32) / 4, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Move the paddle, let the ball fall by one row; the episode ends when it lands."""
        self.column += 1 - int(action)
        self.row -= 1
        landed = self.row == 0
        reward = (1.0 if self.column == 0 else -1.0) if landed else 0.0
        return np.array([self.column, self.row], np.float32) / 4, reward, landed, False, {}


if "Catch-v0" not in gymnasium.registry:  # Python may run this file under two names
    gymnasium.register("Catch-v0", entry_point="examples.own_environment:Catch")

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from main import main

    flags = (
        "--env-name examples.own_environment:Catch-v0 --num-processes 2 "
        "--envs-per-process 4 --lr 2e-3 --num-env-steps 5e4 --video-interval 0"
    )
    sys.argv[1:1] = flags.split()
    sys.exit(main())
