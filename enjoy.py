"""Plays what main.py saved: `python enjoy.py --run-dir runs/latest`."""

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from workers.process import limit_threads


def build_parser() -> argparse.ArgumentParser:
    """The command line of enjoy.py."""
    parser = argparse.ArgumentParser(
        prog="enjoy.py",
        description="Plays a trained policy in a window, or without a display into a video, and prints its scores.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--run-dir", help="a run's folder: plays the policy that its test worker found best"
    )
    parser.add_argument(
        "--newest", action="store_true", help="with --run-dir: play its newest checkpoint instead"
    )
    parser.add_argument("--load-dir", help="folder of a saved policy, such as trained_models/a3c")
    parser.add_argument("--env-name", help="environment whose policy to load from --load-dir")
    parser.add_argument("--episodes", type=int, default=10, help="episodes to play (default: 10)")
    parser.add_argument(
        "--seed", type=int, default=1, help="seed of the first episode (default: 1)"
    )
    parser.add_argument(
        "--non-det",
        action="store_true",
        help="sample the actions instead of taking the most probable",
    )
    parser.add_argument(
        "--video", help="record the first episode to this mp4 file (without a display: enjoy.mp4)"
    )
    parser.add_argument(
        "--export",
        metavar="FILE",
        help="write the policy as a .pt2 (torch.export) or .onnx file instead of playing",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object and nothing else; no window, no video",
    )
    return parser


def main() -> int:
    """Plays; returns the exit code."""
    limit_threads()
    sys.path.append(os.getcwd())  # where people keep environments of their own
    parser = build_parser()
    options = parser.parse_args()
    if options.episodes < 1 or options.seed < 0:
        parser.error("--episodes must be at least 1, and --seed at least 0")
    if bool(options.run_dir) == bool(options.load_dir):
        parser.error("give either --run-dir RUN, or --load-dir DIR with --env-name ID")
    if options.load_dir and not options.env_name:
        parser.error("--load-dir needs --env-name")
    from envs.ids import EnvironmentProblem
    from workers.export import ExportError
    from workers.records.checkpoint import CheckpointError
    from workers.records.run_folder import RunFolderError
    from workers.settings.config import OtherVersion
    from workers.settings.flags import UsageError

    try:
        play(options)
    except (
        CheckpointError,
        RunFolderError,
        EnvironmentProblem,
        ExportError,
        OtherVersion,
        UsageError,
    ) as problem:
        print(f"enjoy.py: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def find_policy(options: argparse.Namespace) -> dict[str, Any]:
    """The snapshot that the command line means. CheckpointError or RunFolderError."""
    from workers.records import checkpoint
    from workers.records.run_folder import RunFolder
    from workers.supervision.run import saved_policy_path

    if options.load_dir:
        return checkpoint.load(
            saved_policy_path(options.load_dir, options.env_name), require_digest=False
        )
    folder = RunFolder.open(options.run_dir)
    if folder.best.exists() and not options.newest:
        return checkpoint.load(folder.best)
    return checkpoint.latest(folder.checkpoints)[1]


def has_display() -> bool:
    """Whether a window can be shown."""
    return sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )


def play(options: argparse.Namespace) -> None:
    """Plays the episodes one after another and prints each score."""
    import numpy as np
    import torch

    from workers.camera import Camera
    from workers.play import play_episodes
    from workers.snapshot import restore_policy

    torch.set_num_threads(1)
    model, config, resolved = restore_policy(find_policy(options))
    camera = Camera(resolved, max_episode_length=config.max_episode_length)
    if options.export:
        from workers.export import export_policy

        observation, _ = camera.environment(pictures=False).reset(seed=options.seed)
        export_policy(model, torch.from_numpy(observation[None]), Path(options.export))
        print(f"exported to {options.export}")
        return
    window = has_display() and not options.json and not options.video
    video = (
        Path(options.video or "enjoy.mp4")
        if options.video or not (window or options.json)
        else None
    )
    returns: list[float] = []
    lengths: list[int] = []
    for episode in range(options.episodes):
        recording = video is not None and episode == 0
        environment = camera.environment(pictures=window or recording)
        with contextlib.ExitStack() as stack:
            on_frame = camera.show if window else None
            if recording and video is not None:
                environment.reset(seed=options.seed)
                on_frame = stack.enter_context(camera.film(video)).write
            played = play_episodes(
                model,
                [environment],
                seeds=[options.seed + episode],
                sampled=options.non_det,
                on_frame=on_frame,
            )
        assert played is not None
        returns += played.returns
        lengths += played.lengths
        if not options.json:
            print(f"episode {episode + 1}: score {returns[-1]:g}, {lengths[-1]} steps", flush=True)
            if recording:
                print(f"video of it: {video}")
    summary = {
        "returns": returns,
        "mean": float(np.mean(returns)),
        "std": float(np.std(returns)),
        "lengths": lengths,
    }
    if options.json:
        print(json.dumps(summary))
    else:
        print(
            f"mean {summary['mean']:.2f}, standard deviation {summary['std']:.2f} over {len(returns)} episodes"
        )


if __name__ == "__main__":
    sys.exit(main())
