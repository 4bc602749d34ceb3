"""How a child process of a run begins and ends, whatever its environments do."""

import faulthandler
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

from workers.guard import END_SIGNALS, lead_group
from workers.output import flush_output

CLOSING_PATIENCE = 2.0  # seconds for all environments of a child


def live(target: Callable[[Any, Any], None], task: Any, pipe: Any, mark: str) -> NoReturn:
    """Call `target(task, pipe)` in a child of a run, and end with the exit code that it wants."""
    lead_group(mark)
    outlive_signals()
    # A daemon may not start processes, and simulators are such. The guard ends what they leave.
    multiprocessing.current_process().daemon = False
    code: Any = 0
    try:
        target(task, pipe)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    leave(code if isinstance(code, int) else int(code is not None))


def outlive_signals() -> None:
    """Let the signals that end a run pass by this process, but not by those that it starts.

    Only the main process answers them. Schedulers may send them to every process of a run.
    """
    # Programs that are started forget handlers. A blocked or ignored signal stays so in them, and
    # an environment could not terminate its simulator.
    for number in END_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _pass_by)
            signal.siginterrupt(number, False)
    restore_signals_in_forks()
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)


def restore_signals_in_forks() -> None:
    """Let processes that are forked from this one, without a new program, obey signals again."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_restore_signals)


def close_in_time(close: Callable[[], None]) -> None:
    """Call `close`, which closes environments; a failure goes to the log.

    After `CLOSING_PATIENCE` the process ends, and the log says where it was.
    """
    # This watch needs no interpreter, so it also ends a call into C that never returns.
    faulthandler.dump_traceback_later(CLOSING_PATIENCE, exit=True)
    try:
        close()
    except Exception:
        traceback.print_exc()
    finally:
        faulthandler.cancel_dump_traceback_later()


def leave(code: int) -> NoReturn:
    """End this process now, without waiting for a thread that an environment has left."""
    flush_output()
    os._exit(code)


def _pass_by(number: int, frame: FrameType | None) -> None:
    pass


def _restore_signals() -> None:
    for number in END_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, usual)
