"""Play what main.py saved: `python enjoy.py --run-dir runs/latest`."""

import argparse
import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from workers.invocation import VERSION, Invocation
from workers.process import limit_threads, put_working_folder_last

if TYPE_CHECKING:
    from a3c.networks.actor_critic import ActorCritic
    from workers.camera import Camera
    from workers.show import Show


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
        epilog="Exit codes: 0 played; 1 failed, or no episode has a score, or the video that "
        "was asked for could not be made; 2 wrong usage; 130 Ctrl-C; 141 the output's reader left.",
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
    parser.add_argument(
        "--env-name",
        help="environment whose policy to load from --load-dir; with --run-dir: another "
        "environment to play the run's policy in",
    )
    parser.add_argument(
        "--env-kwargs",
        nargs="+",
        default=(),
        metavar="KEY=VALUE",
        help="arguments of the environment, beside or instead of those of the training",
    )
    parser.add_argument("--episodes", type=int, default=10, help="episodes to play (default: 10)")
    parser.add_argument(
        "--seed", type=int, default=1, help="seed of the first episode (default: 1)"
    )
    actions = parser.add_mutually_exclusive_group()
    actions.add_argument(
        "--non-det",
        action="store_true",
        help="draw the actions, as in training; default: as the policy was evaluated, which is "
        "this for games, and --det otherwise",
    )
    actions.add_argument("--det", action="store_true", help="take the most probable actions")
    parser.add_argument(
        "--video",
        help="record the first episode to this .mp4, .avi or .gif file "
        "(without a display: enjoy.mp4)",
    )
    parser.add_argument(
        "--export",
        metavar="FILE",
        help="write the policy as a .pt2 (torch.export) or .onnx file instead of playing",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object and nothing else on standard output; no window",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of a failure")
    return parser


def main() -> int:
    """Play; return the exit code."""
    from workers.output import open_missing_streams

    open_missing_streams()
    code = enter()
    if any(not thread.daemon for thread in threading.enumerate()[1:]):
        from workers.entry import leave

        leave(code)  # an environment has left a thread, for which Python would wait
    return code


def enter() -> int:
    """Play as the command line says; return the exit code."""
    limit_threads()
    put_working_folder_last()
    parser = build_parser()
    options = parser.parse_args()
    check(parser, options)
    from envs.ids import EnvironmentProblem
    from envs.reasons import place, reason
    from workers.export import ExportError
    from workers.records.checkpoint import CheckpointError
    from workers.records.run_folder import RunFolderError
    from workers.scores import READER_LEFT, ReaderLeft, standard_output
    from workers.settings.errors import OtherVersion, UsageError

    try:
        with standard_output(alone=options.json) as output:
            return play(options, output)
    except UsageError as problem:
        complain(str(problem))
        return 2
    except (
        CheckpointError,
        RunFolderError,
        EnvironmentProblem,
        ExportError,
        OtherVersion,
    ) as problem:
        complain(str(problem))
        return 1
    except ReaderLeft:
        return READER_LEFT
    except KeyboardInterrupt:
        return 130
    # An environment may raise anything, or leave.
    except (Exception, SystemExit) as problem:
        if options.debug:
            raise
        complain(f"{reason(problem)}{place(problem)} (--debug shows more)")
        return 1


def check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Exit with a message if the options do not go together."""
    if options.episodes < 1 or options.seed < 0:
        parser.error("--episodes must be at least 1, and --seed at least 0")
    if bool(options.run_dir) == bool(options.load_dir):
        parser.error("give either --run-dir RUN, or --load-dir DIR with --env-name ID")
    if options.load_dir and not options.env_name:
        parser.error("--load-dir needs --env-name")
    if options.video:
        from envs.video import SUFFIXES

        if Path(options.video).suffix not in SUFFIXES:
            suffixes = " or ".join(SUFFIXES)
            parser.error(f"--video {options.video}: give the file the suffix {suffixes}")


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


def play(options: argparse.Namespace, output: TextIO) -> int:
    """Play the episodes one after another, or export the policy; return the exit code."""
    import torch

    from workers.camera import Camera
    from workers.scores import Scores
    from workers.snapshot import restore_policy
    from workers.supervision.loading import environment_for

    torch.set_num_threads(1)
    snapshot = find_policy(options)
    model, config, resolved = restore_policy(snapshot)
    if (options.run_dir and options.env_name) or options.env_kwargs:
        resolved = environment_for(snapshot, options.env_name, options.env_kwargs)
    with contextlib.closing(
        Camera(resolved, max_episode_length=config.max_episode_length)
    ) as camera:
        if options.export:
            export(model, camera, options)
            return 0
        sampled = options.non_det or (config.eval_sampled and not options.det)
        show = build_show(options, model, camera, steps=snapshot["steps"], sampled=sampled)
        scores = Scores(output, as_json=options.json)
        for episode in range(options.episodes):
            played = show.play(options.seed + episode)
            scores.add(played, video=show.filmed if episode == 0 else None)
        any_score = scores.summarise()
        return 1 if not any_score or (options.video and show.filmed is None) else 0


def build_show(
    options: argparse.Namespace,
    model: "ActorCritic",
    camera: "Camera",
    *,
    steps: int,
    sampled: bool,
) -> "Show":
    """Return what plays the episodes: in a window, into a video, or unseen."""
    from workers.show import Show

    window = has_display() and not options.json and not options.video
    video = options.video or (None if window or options.json else "enjoy.mp4")
    return Show(
        model,
        camera,
        sampled=sampled,
        steps=steps,
        window=window,
        video=Path(video) if video else None,
        tell=complain,
    )


def complain(line: str) -> None:
    """Print a line about something that went wrong."""
    print(f"{Invocation.here().name}: {line}", file=sys.stderr, flush=True)


def export(model: "ActorCritic", camera: "Camera", options: argparse.Namespace) -> None:
    """Write the policy as a file for other programs. ExportError."""
    import torch

    from envs.actions import own_space
    from workers.export import export_policy

    environment = camera.environment(pictures=False)
    observation, _ = environment.reset(seed=options.seed)
    export_policy(
        model,
        torch.from_numpy(observation[None]),
        Path(options.export),
        actions=own_space(environment),
        environment=camera.name,
    )
    print(f"exported to {options.export}")


if __name__ == "__main__":
    sys.exit(main())
