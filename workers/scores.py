"""What enjoy.py prints: scores as lines for people, or as one JSON object and nothing else."""

import contextlib
import json
import math
import os
import sys
from pathlib import Path
from typing import TextIO

from workers.records.evaluation import Evaluation

READER_LEFT = 141  # the exit code of a program that a closed pipe ends


class ReaderLeft(Exception):
    """Nobody reads what is printed any more."""


class Scores:
    """The scores of episodes, printed as they come and together at the end."""

    def __init__(self, output: TextIO, *, as_json: bool) -> None:
        """With `as_json` only the end is printed, as an object."""
        self._output, self._as_json = output, as_json
        self._played: list[Evaluation] = []

    def add(self, played: Evaluation, *, video: Path | None) -> None:
        """Take the next episode, and its video if there is one."""
        self._played.append(played)
        if self._as_json:
            return
        score = f"score {played.returns[0]:g}, {played.lengths[0]} steps"
        self._say(f"episode {len(self._played)}: {score}")
        if video is not None:
            self._say(f"video of it: {video}")

    def summarise(self) -> bool:
        """Print mean and standard deviation; as JSON all scores, too. Return whether any is sound.

        An episode that a faulty number ended has none: NaN, and null in JSON.
        """
        total = Evaluation(
            steps=self._played[0].steps,
            returns=tuple(return_ for played in self._played for return_ in played.returns),
            lengths=tuple(length for played in self._played for length in played.lengths),
        )
        if not self._as_json:
            episodes = f"over {len(total.sound)} episodes"
            self._say(f"mean {total.mean:.2f}, standard deviation {total.std:.2f} {episodes}")
            return bool(total.sound)
        summary = {
            "returns": [_number(return_) for return_ in total.returns],
            "mean": _number(total.mean),
            "std": _number(total.std),
            "lengths": total.lengths,
        }
        self._say(json.dumps(summary))
        return bool(total.sound)

    def _say(self, line: str) -> None:
        """Print a line. ReaderLeft if its reader has left, as `head` does."""
        try:
            print(line, file=self._output, flush=True)
        except BrokenPipeError:
            # What is still in the buffer must go somewhere, or Python complains at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._output.fileno())
            raise ReaderLeft from None


def standard_output(*, alone: bool) -> contextlib.AbstractContextManager[TextIO]:
    """Return standard output; if `alone`, it is the caller's alone from now on.

    What else is printed goes to standard error then, also what an environment prints from C code or
    lets its processes print.
    """
    if not alone:
        return contextlib.nullcontext(sys.stdout)
    sys.stdout.flush()
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return output


def _number(value: float) -> float | None:
    """Return None, which JSON can say, for a number that is not finite."""
    return value if math.isfinite(value) else None
