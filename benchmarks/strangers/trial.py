"""One environment's trial: train on it briefly, go on exactly, play it, and compare with a witness.

It takes the way of main.py, in one process and with one worker.
"""

from __future__ import annotations

import dataclasses
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from a3c.segment import Segment
from benchmarks.strangers import environment
from benchmarks.strangers.environment import Misbehaviour
from benchmarks.strangers.witness import TAPES, Tape, flat
from envs.ids import EnvironmentProblem
from envs.make import make
from workers.play import play_episodes
from workers.records.run_folder import RunFolder
from workers.settings.errors import UsageError
from workers.supervision.child import get_context
from workers.supervision.command_line import read_command_line
from workers.supervision.run import Run
from workers.supervision.spaces import spaces_of
from workers.trainer import Trainer
from workers.worker import build_trainer

LONGEST_SENTENCE = 700  # letters
ENVIRONMENT = environment.__file__
FLAGS = (
    *("--algo", "a2c", "--num-processes", "1", "--envs-per-process", "1", "--num-steps", "20"),
    *("--max-episode-length", "25", "--eval-interval", "0", "--video-interval", "0"),
    *("--no-tensorboard", "--start-method", "spawn"),
)


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: "trained", "refused", "its own error" or "FAILED"; and what was said."""

    kind: str
    text: str = ""
    details: str = ""


class Wrong(Exception):
    """What the environment's witness saw, and what was trained on, differ."""


def attempt(env_name: str, *flags: str, steps: int = 120) -> Outcome:
    """Train for some steps; return what happened, which nothing but a killed process prevents."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            where = ("--run-dir", str(Path(folder) / "run"), "--save-dir", "")
            size = ("--num-env-steps", str(steps))
            run = _prepared(("--env-name", env_name, *FLAGS, *size, *where, *flags))
            try:
                return _trained(run)
            finally:
                run.close()
    except (EnvironmentProblem, UsageError) as problem:
        return _refused(str(problem))
    except Wrong as problem:
        return Outcome("FAILED", str(problem), traceback.format_exc())
    except BaseException as problem:
        if _is_its_own(problem):
            return Outcome("its own error", repr(problem))
        return Outcome("FAILED", f"raised {problem!r}"[:300], traceback.format_exc())


def _prepared(arguments: Sequence[str]) -> Run:
    """Build a run as main.py does, except that the environment is looked at in this process."""
    line = read_command_line(arguments).line
    config = line.config
    return Run(
        config=config,
        environment=line.environment,
        spaces=spaces_of(line.environment, config),
        folder=RunFolder.create(
            run_dir=config.run_dir,
            log_dir=config.log_dir,
            env_name=config.env_name,
            algo=config.algo,
            seed=config.seed,
        ),
        context=get_context(config.start_method),
        origins=line.origins,
    )


def _refused(sentence: str) -> Outcome:
    """Judge a refusal: one line, of limited length, with a fix behind a colon or the like."""
    fix = any(mark in sentence for mark in (": ", "; ", "? ")) or sentence.endswith("?")
    if "\n" in sentence or not fix or not 20 < len(sentence) < LONGEST_SENTENCE:
        return Outcome("FAILED", f"refused, but not in one sentence with a fix: {sentence!r}")
    return Outcome("refused", sentence)


def _is_its_own(problem: BaseException) -> bool:
    """Return whether the recipe's environment raised the error."""
    if isinstance(problem, Misbehaviour):
        return True
    frames = traceback.extract_tb(problem.__traceback__)
    return bool(frames) and frames[-1].filename in (ENVIRONMENT, "<string>")


def _trained(run: Run) -> Outcome:
    notes = []
    segments: list[Segment] = []
    reports: list[Any] = []  # of type Report: nothing is resumed here
    known = {*TAPES}
    trainer = build_trainer(run.task(0), send=reports.append)
    trainer.preparations = [_copying(segments), *trainer.preparations]
    trainer.run()
    tape = _tape(known)
    own = run.environment.family != "atari"  # games skip and clip in wrappers outside the witness
    _check_training(run, tape, segments, own=own)
    if reports and reports[-1].own is not None:
        notes += _check_resumed(run, trainer, reports[-1].own)
    elif reports and (len(reports[-1].problem) < 10 or "\n" in reports[-1].problem):
        raise Wrong(f"no state, and no sentence that says why: {reports[-1].problem!r}")
    else:
        notes.append(f"new episodes: {reports[-1].problem}" if reports else "no report")
    trainer.actor.environments.close()
    _check_evaluation(run, trainer, own=own)
    return Outcome("trained", "; ".join(notes))


def _copying(segments: list[Segment]) -> Any:
    def copy(segment: Segment) -> Segment:
        values: dict[str, Any] = {
            field.name: getattr(segment, field.name) for field in dataclasses.fields(segment)
        }
        copies: dict[str, Any] = {
            name: v.clone() if torch.is_tensor(v) else v for name, v in values.items()
        }
        segments.append(Segment(**copies))
        return segment

    return copy


def _tape(known: set[int]) -> Tape:
    """Return the tape of the only environment that was made since and has been stepped."""
    tapes = [tape for key, tape in TAPES.items() if key not in known and tape.acted_on]
    if len(tapes) != 1:
        raise Wrong(f"{len(tapes)} environments took steps instead of 1")
    return tapes[0]


def _check_training(run: Run, tape: Tape, segments: list[Segment], *, own: bool) -> None:
    progress = run.memory.progress
    _check_actions(tape)
    if not run.is_finite():
        raise Wrong("the parameters are no longer finite")
    if not tape.is_finite:  # such episodes are not learned from, and do not count
        return
    rows = progress.episodes[0][: progress.total("episodes")].tolist()
    recorded = [(return_, int(length)) for return_, length, _ in rows]
    _check_episodes(recorded, tape.episodes, own=own)
    if own:
        _same("steps", progress.total("steps"), len(tape.acted_on))
        _check_observations(tape, segments)
        rewards = torch.cat([segment.rewards.reshape(-1) for segment in segments]).numpy()
        if not np.array_equal(rewards, np.asarray(tape.rewards, np.float32), equal_nan=True):
            raise Wrong("the segments' rewards are not the environment's")
    for segment in segments:
        for values in (segment.observations, segment.rewards):
            if values.is_floating_point() and not bool(torch.isfinite(values).all()):
                raise Wrong("numbers that are not finite were learned from")
    if not progress.total("updates"):
        raise Wrong("nothing was learned")


def _check_actions(tape: Tape) -> None:
    if tape.wrong_actions:
        raise Wrong(f"{len(tape.wrong_actions)} wrong actions, the first: {tape.wrong_actions[0]}")


def _check_episodes(
    recorded: list[tuple[float, int]], seen: list[tuple[float, int]], *, own: bool
) -> None:
    if not own:
        # Wrappers outside the witness press buttons before an episode counts, and lose points.
        recorded, seen = [(0.0, 0)] * len(recorded), [(0.0, 0)] * min(len(recorded), len(seen))
    if len(recorded) != len(seen) or not np.allclose(recorded, seen, equal_nan=True):
        raise Wrong(f"recorded {recorded[:3]} of {len(recorded)}, seen {seen[:3]} of {len(seen)}")


def _check_observations(tape: Tape, segments: list[Segment]) -> None:
    space = tape.space
    rows = torch.cat([segment.observations.flatten(0, 1) for segment in segments]).numpy()
    for step, (row, observation) in enumerate(zip(rows, tape.acted_on, strict=True)):
        try:
            expected = flat(space, observation)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as problem:
            raise Wrong(f"{observation!r} is none of {space}, and it trained ({problem})") from None
        if not np.array_equal(row.reshape(-1), expected, equal_nan=True):
            raise Wrong(f"observation {step} is {row.tolist()}, seen {expected.tolist()}"[:300])


def _check_resumed(run: Run, trainer: Trainer, state: bytes) -> list[str]:
    """Play on, and once more from the saved state; both must be the same, or it is refused."""
    segments: list[Segment] = []
    refusals: list[Any] = []
    keep = _copying(segments)
    keep(trainer.actor.play())
    second = build_trainer(dataclasses.replace(run.task(0), state=state), send=refusals.append)
    if refusals:
        return [f"new episodes when resumed: {refusals[0].problem}"]
    second.learner.pull()
    second.finished()
    keep(second.actor.play())
    second.actor.environments.close()
    for name in ("observations", "actions", "rewards", "terminated", "truncated"):
        first, again = (getattr(segment, name).numpy() for segment in segments)
        if not np.array_equal(first, again, equal_nan=first.dtype.kind == "f"):
            raise Wrong(f"a saved state went on with other {name}")
    return []


def _check_evaluation(run: Run, trainer: Trainer, *, own: bool) -> None:
    known = {*TAPES}
    length = run.config.max_episode_length
    env = make(run.environment, training=False, max_episode_length=length)
    played = play_episodes(trainer.model, [env], seeds=[1], sampled=True, steps=0)
    tape = _tape(known)
    tape.end()
    _check_actions(tape)
    assert played is not None
    if tape.is_finite:
        scores = list(zip(played.returns, played.lengths, strict=True))
        _check_episodes(scores, tape.episodes, own=own)
    env.close()


def _same(what: str, counted: int, seen: int) -> None:
    if counted != seen:
        raise Wrong(f"{counted} {what} were counted, and {seen} seen")
