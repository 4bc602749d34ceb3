"""One child process of the main process, and what its pipe says."""

import contextlib
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.context import BaseContext
from typing import Any

from workers.process import starting_children

MESSAGE_PATIENCE = 0.1  # seconds to wait for the rest of a message that has begun to arrive
PRELOADED = ["workers.worker", "workers.evaluator", "ale_py"]


def get_context(start_method: str) -> BaseContext:
    """Return the context of --start-method; "auto" is forkserver on Linux and spawn elsewhere."""
    if start_method == "auto":
        start_method = "forkserver" if sys.platform == "linux" else "spawn"
    return multiprocessing.get_context(start_method)


class Child:
    """One child process and the parent's end of its pipe."""

    def __init__(
        self,
        *,
        target: Callable[..., None],
        task: Any,
        name: str,
        context: BaseContext,
    ) -> None:
        """Start a process that calls `target(task, pipe)`."""
        self.name = name
        self.last_words = ""  # the traceback that it sends before it dies
        self.pipe, theirs = context.Pipe()
        self.process: Any = context.Process(  # type: ignore[attr-defined]
            target=target, args=(task, theirs), name=name, daemon=True
        )
        with starting_children():
            self.process.start()
        theirs.close()
        self.started = time.monotonic()
        self._reader = ThreadPoolExecutor(1)
        self._incoming: Future[Any] | None = None

    def messages(self) -> list[Any]:
        """Return the new messages.

        A child may be stopped in the middle of a message. The rest is read when it arrives.
        """
        result = []
        with contextlib.suppress(EOFError, OSError, TimeoutError):
            while self._incoming is not None or self.pipe.poll():
                self._incoming = self._incoming or self._reader.submit(self.pipe.recv)
                result.append(self._incoming.result(MESSAGE_PATIENCE))
                self._incoming = None
        return result

    def send(self, message: Any) -> None:
        """Send a message, unless the child is gone."""
        with contextlib.suppress(OSError):
            self.pipe.send(message)

    def cause_of_death(self) -> str:
        """Return the end of the process in words."""
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exit code {code}"

    def end(self, *, patience: float) -> None:
        """Wait `patience` seconds, then kill the process; a stopped one does not end by itself."""
        self.process.join(patience)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        with contextlib.suppress(OSError):
            self.pipe.close()
