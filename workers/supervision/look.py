"""A look at the environment before any worker makes it, in a process of its own.

The code is somebody else's: it may crash, leave or hang.
"""

import contextlib
import faulthandler
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import TYPE_CHECKING, cast

from envs.ids import EnvironmentProblem, ResolvedId
from workers.entry import close_in_time
from workers.process import prepare_child
from workers.settings.config import Config
from workers.supervision.causes import cause_of_error, place_in_dump
from workers.supervision.child import Child

if TYPE_CHECKING:
    from workers.settings.models import Spaces

IMPORT_TIMEOUT = 60.0  # seconds in which the process must have imported what it needs
SHORTEST_TIMEOUT = 5.0  # seconds in which it must have made the environment; busy machines are slow
READY = "ready"
ENDING_PATIENCE = 3.0  # seconds in which it may close the environment after its answer
STACK_PATIENCE = 2.0  # seconds in which a process that hangs must have written its stack
_STACK = re.compile(r"^(?:Timeout \(|Fatal Python error|Current thread|Stack .most)", re.M)


@dataclass(frozen=True)
class _Task:
    environment: ResolvedId
    config: Config
    output: str  # the file that gets what is printed, and the stack of a crash or a hang


class Look:
    """A process that makes the environment once and says what it observes and does."""

    def __init__(self, environment: ResolvedId, config: Config, context: BaseContext) -> None:
        """Start the process."""
        self._id, self._timeout = environment.id, max(config.worker_timeout, SHORTEST_TIMEOUT)
        # It has a name until the process has opened it, so that a kill leaves nothing behind.
        self._output = tempfile.NamedTemporaryFile(  # noqa: SIM115
            "r", prefix="a3c_look_", delete=False, errors="replace"
        )
        task = _Task(environment, config, self._output.name)
        self._child = Child(target=_look, task=task, name="look", context=context)

    def spaces(self, *, interrupted: Callable[[], bool] = lambda: False) -> "Spaces":
        """Wait for the answer. EnvironmentProblem; KeyboardInterrupt when `interrupted`.

        What was printed meanwhile is then in `printed`; after a failure it is on standard error.
        """
        child, patience = self._child, 0.0
        try:
            answer = self._answer(interrupted)
            if isinstance(answer, EnvironmentProblem):
                raise answer
            if isinstance(answer, str):
                cause = cause_of_error(answer).words
                raise EnvironmentProblem(f"{self._id} could not be prepared: {cause}.")
            patience = ENDING_PATIENCE
        finally:
            child.end(patience=patience)
            self.printed = _STACK.split(self._written())[0]
            self._output.close()
            Path(self._output.name).unlink(missing_ok=True)
            if not patience:
                sys.stderr.write(self.printed)
        return answer

    def _answer(self, interrupted: Callable[[], bool]) -> "Spaces | EnvironmentProblem | str":
        child = self._child
        began, timeout = child.started, max(self._timeout, IMPORT_TIMEOUT)
        while True:
            wait([child.pipe, child.process.sentinel], 0.1)
            alive = child.process.is_alive()
            for answer in child.messages():
                if answer != READY:
                    return cast("Spaces | EnvironmentProblem | str", answer)
                began, timeout = time.monotonic(), self._timeout
                Path(self._output.name).unlink(missing_ok=True)
            if interrupted():
                raise KeyboardInterrupt
            if not alive:
                cause = child.cause_of_death().words
                raise self._problem(f"its process ended ({cause}{self._place()})")
            if time.monotonic() - began > timeout:
                raise self._problem(
                    f"it was not ready after {timeout:g} s{self._place()}; "
                    "a longer --worker-timeout may help"
                )

    def _problem(self, what: str) -> EnvironmentProblem:
        return EnvironmentProblem(f"{self._id} could not be made: {what}.")

    def _place(self) -> str:
        """Return ", file FILE, line N" where the process has crashed or hangs, if that is known."""
        process, deadline = self._child.process, time.monotonic() + STACK_PATIENCE
        if process.is_alive() and hasattr(signal, "SIGUSR2"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGUSR2)
            found = ""
            while not found and process.is_alive() and time.monotonic() < deadline:
                found = place_in_dump(self._written())
                time.sleep(0.1)  # also for the rest of a stack that is half written
        return place_in_dump(self._written())

    def _written(self) -> str:
        self._output.seek(0)
        return self._output.read()


def _look(task: _Task, pipe: Connection) -> None:
    """Send the spaces, an EnvironmentProblem, or the traceback of another error."""
    with open(task.output, "w") as output:
        prepare_child("a3c look at the environment", output)
        if hasattr(signal, "SIGUSR2"):
            faulthandler.register(signal.SIGUSR2, output, all_threads=False)
        from envs.make import make
        from workers.supervision.spaces import describe

        pipe.send(READY)
        config, env = task.config, None
        try:
            length = config.max_episode_length
            env = make(task.environment, training=True, max_episode_length=length)
            pipe.send(describe(env, task.environment, config))
        except EnvironmentProblem as problem:
            pipe.send(EnvironmentProblem(str(problem)))
        except BaseException:
            pipe.send(traceback.format_exc())
        finally:
            if env is not None:
                close_in_time(env.close)
