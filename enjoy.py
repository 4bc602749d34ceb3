"""Play what main.py saved: `python enjoy.py --run-dir runs/latest`."""

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workers.invocation import VERSION, Invocation
from workers.process import limit_threads, put_working_folder_last

if TYPE_CHECKING:
    from a3c.networks.actor_critic import ActorCritic
    from workers.camera import Camera
    from workers.records.evaluation import Evaluation


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    invocation = Invocation.here()
    parser = argparse.ArgumentParser(
        prog=invocation.name,
        usage=f"{invocation.play} [flags]".replace("%", "%%"),
        description=(
            "Plays a trained policy in a window, or without a display into a video, "
            "and prints its scores."
        ),
        allow_abbrev=False,
    )
    parser.add_argument(
        "--run-dir", help="a run's folder: plays the policy that its test worker found best"
    )
    parser.add_argument(
        "--newest", action="store_true", help="with --run-dir: play its newest checkpoint instead"
    )
    parser.add_argument("--version", action="version", version=VERSION)
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
    """Play; return the exit code."""
    limit_threads()
    put_working_folder_last()
    parser = build_parser()
    options = parser.parse_args()
    check(parser, options)
    from envs.ids import EnvironmentProblem
    from workers.export import ExportError
    from workers.records.checkpoint import CheckpointError
    from workers.records.run_folder import RunFolderError
    from workers.settings.errors import OtherVersion, UsageError

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
        print(f"{Invocation.here().name}: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Exit with a message if the options do not go together."""
    if options.episodes < 1 or options.seed < 0:
        parser.error("--episodes must be at least 1, and --seed at least 0")
    if bool(options.run_dir) == bool(options.load_dir):
        parser.error("give either --run-dir RUN, or --load-dir DIR with --env-name ID")
    if options.load_dir and not options.env_name:
        parser.error("--load-dir needs --env-name")


def find_policy(options: argparse.Namespace) -> dict[str, Any]:
    """Load the snapshot that the command line names. CheckpointError, RunFolderError."""
    from workers.records import checkpoint
    from workers.records.run_folder import RunFolder
    from workers.snapshot import saved_policy_path

    if options.load_dir:
        path = saved_policy_path(options.load_dir, options.env_name)
        return checkpoint.load(path, require_digest=False)
    folder = RunFolder.open(options.run_dir)
    if folder.best.exists() and not options.newest:
        return checkpoint.load(folder.best)
    return checkpoint.latest(folder.checkpoints)[1]


def has_display() -> bool:
    """Return whether a window can be shown."""
    return sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )


def play(options: argparse.Namespace) -> None:
    """Play the episodes one after another, or export the policy."""
    import torch

    from workers.camera import Camera
    from workers.records.evaluation import Evaluation
    from workers.snapshot import restore_policy

    torch.set_num_threads(1)
    snapshot = find_policy(options)
    model, config, resolved = restore_policy(snapshot)
    camera = Camera(resolved, max_episode_length=config.max_episode_length)
    if options.export:
        export(model, camera, options)
        return
    window = has_display() and not options.json and not options.video
    video = None
    if options.video or not (window or options.json):
        video = Path(options.video or "enjoy.mp4")
    returns: list[float] = []
    lengths: list[int] = []
    for episode in range(options.episodes):
        played = play_episode(
            model,
            camera,
            options,
            steps=snapshot["steps"],
            episode=episode,
            window=window,
            video=video if episode == 0 else None,
        )
        returns += played.returns
        lengths += played.lengths
    summarise(
        Evaluation(steps=snapshot["steps"], returns=tuple(returns), lengths=tuple(lengths)),
        as_json=options.json,
    )


def play_episode(
    model: "ActorCritic",
    camera: "Camera",
    options: argparse.Namespace,
    *,
    steps: int,
    episode: int,
    window: bool,
    video: Path | None,
) -> "Evaluation":
    """Play one episode, in a window or into a video, and print its score."""
    from workers.play import play_episodes

    environment = camera.environment(pictures=window or video is not None)
    with contextlib.ExitStack() as stack:
        on_frame = camera.show if window else None
        if video is not None:
            environment.reset(seed=options.seed)
            on_frame = stack.enter_context(camera.film(video)).write
        played = play_episodes(
            model,
            [environment],
            seeds=[options.seed + episode],
            sampled=options.non_det,
            steps=steps,
            on_frame=on_frame,
        )
    assert played is not None
    if not options.json:
        score = f"score {played.returns[0]:g}, {played.lengths[0]} steps"
        print(f"episode {episode + 1}: {score}", flush=True)
        if video is not None:
            print(f"video of it: {video}")
    return played


def summarise(played: "Evaluation", *, as_json: bool) -> None:
    """Print mean and standard deviation of the scores, or everything as one JSON object."""
    if as_json:
        summary = {
            "returns": played.returns,
            "mean": played.mean,
            "std": played.std,
            "lengths": played.lengths,
        }
        print(json.dumps(summary))
        return
    episodes = len(played.returns)
    print(f"mean {played.mean:.2f}, standard deviation {played.std:.2f} over {episodes} episodes")


def export(model: "ActorCritic", camera: "Camera", options: argparse.Namespace) -> None:
    """Write the policy as a file for other programs. ExportError."""
    import torch

    from workers.export import export_policy

    observation, _ = camera.environment(pictures=False).reset(seed=options.seed)
    export_policy(model, torch.from_numpy(observation[None]), Path(options.export))
    print(f"exported to {options.export}")


if __name__ == "__main__":
    sys.exit(main())
