"""Load a trained policy from Python, act with it, and read its values.

    python examples/load_and_play.py runs/latest

plays three episodes with the best policy of a run, and prints what each returned, beside the value
that the critic gave to its first observation. Values are expected sums of the rewards that were
learned from: discounted, clipped in Atari games, and scaled with --scale-rewards.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # where this program lies, and where environments of your own may lie
    sys.path += [str(Path(__file__).parents[1]), str(Path.cwd())]

import torch

from envs.episodes import statistics_of
from envs.make import make
from workers.records import checkpoint
from workers.records.run_folder import RunFolder, RunFolderError
from workers.snapshot import restore_policy


@torch.inference_mode()
def main(run_dir: str = "runs/latest", *, episodes: int = 3) -> None:
    """Print the return of each episode, and the value of its first observation."""
    folder = RunFolder.open(run_dir)
    state = checkpoint.load(folder.best)  # the newest: checkpoint.latest(folder.checkpoints)[1]
    model, config, environment = restore_policy(state)
    env = make(environment, training=False, max_episode_length=config.max_episode_length)
    for seed in range(episodes):
        observation, _ = env.reset(seed=seed)
        memory, values, ended = model.initial_state(1), [], False
        while not ended:
            policy, value, memory = model.step(torch.from_numpy(observation[None]), memory)
            values.append(float(value))
            (action,) = model.head.to_environment(model.head.mode(policy)).numpy()
            observation, _, terminated, truncated, _ = env.step(action)
            ended = terminated or truncated
        ((return_, length),) = statistics_of(env).take()
        print(f"return {return_:g} in {length} steps, value at first {values[0]:.2f}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (RunFolderError, checkpoint.CheckpointError) as problem:
        sys.exit(f"load_and_play.py: {problem}")
