"""One child process of the main process, and what its pipe says."""

import contextlib
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import Any

from workers.entry import live
from workers.guard import GUARD, new_mark
from workers.process import starting_children
from workers.supervision.causes import Cause, cause_of_error, cause_of_exit

MESSAGE_PATIENCE = 0.1  # seconds to wait for the rest of a message that has begun to arrive
SERVER_PATIENCE = 5.0  # seconds in which a fork server that was killed must be gone
SERVER_GONE = 255  # the exit code of a process whose fork server is gone
PRELOADED = ["workers.worker", "workers.evaluator", "workers.supervision.look", "ale_py"]


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
        self._from_server = context.get_start_method() == "forkserver"
        mark = new_mark()
        with starting_children(), contextlib.closing(theirs):
            arguments = (target, task, theirs, mark)
            self.process = self._started(context, target=live, args=arguments, name=name)
        GUARD.add(self.process.pid, mark)
        self.started = time.monotonic()
        self._incoming: Future[Any] | None = None

    def _started(self, context: BaseContext, **what: Any) -> Any:
        """Return a process that has been started.

        A fork server that was killed is started anew. For a moment it may seem to live, and what is
        asked of it fails.
        """
        deadline = time.monotonic() + SERVER_PATIENCE
        while True:
            process = context.Process(**what, daemon=True)  # type: ignore[attr-defined]
            try:
                process.start()
                return process
            except (EOFError, ConnectionError):
                if not self._from_server or time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def messages(self) -> list[Any]:
        """Return the new messages.

        A child may be stopped in the middle of a message. The rest is read when it arrives.
        """
        result = []
        with contextlib.suppress(EOFError, OSError, TimeoutError):
            while self._incoming is not None or self.pipe.poll():
                self._incoming = self._incoming or self._receive()
                result.append(self._incoming.result(MESSAGE_PATIENCE))
                self._incoming = None
        if self._incoming is not None and self._incoming.done():
            # An error's traceback refers to this frame. It would keep this object and its
            # descriptors until the garbage collector comes.
            self._incoming = None
        return result

    def _receive(self) -> Future[Any]:
        """Read a message in a thread, which a child that is stopped in the middle blocks."""
        incoming: Future[Any] = Future()

        def read(pipe: Connection = self.pipe) -> None:
            try:
                incoming.set_result(pipe.recv())
            except BaseException as problem:
                incoming.set_exception(problem.with_traceback(None))

        threading.Thread(target=read, daemon=True).start()
        return incoming

    def send(self, message: Any) -> None:
        """Send a message, unless the child is gone."""
        with contextlib.suppress(OSError):
            self.pipe.send(message)

    def cause_of_death(self) -> Cause:
        """Return why the process ended."""
        code = self.process.exitcode
        if self.last_words:
            return cause_of_error(self.last_words)
        if self._from_server and code == SERVER_GONE:
            return Cause("killed with the fork server", own=False)
        return cause_of_exit(code)

    def join(self, patience: float) -> None:
        """Wait `patience` seconds for the end of the process."""
        deadline = time.monotonic() + patience
        # A helper may keep open, for longer, the descriptor that `Process.join` waits for.
        while self.process.is_alive() and time.monotonic() < deadline:
            self.process.join(min(0.05, patience))

    def end(self, *, patience: float) -> None:
        """Wait `patience` seconds, then kill the process and what its environments have started.

        A stopped process does not end by itself.
        """
        self.join(patience)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        GUARD.end(self.process.pid)
        with contextlib.suppress(OSError):
            self.pipe.close()

    def release(self) -> None:
        """Give back the descriptors of a process that has ended; nothing may be asked after it."""
        self.process.close()
