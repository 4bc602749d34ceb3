"""Sleep until a number in shared memory changes, by Linux's futex.

The kernel drops a sleeper that dies, so nothing can stay locked.
"""

import ctypes
import platform
import sys
import time
from collections.abc import Callable

_NUMBERS = {"x86_64": 202, "aarch64": 98}
_WAIT, _WAKE = 0, 1
_EVERYBODY = 0x7FFFFFFF
NAP = 1e-4  # seconds of a sleep where there is no futex to end it


class _Timeout(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def _system_call() -> Callable[..., int] | None:
    number = _NUMBERS.get(platform.machine()) if sys.platform == "linux" else None
    if number is None:
        return None
    call = ctypes.CDLL(None).syscall
    return lambda address, operation, value, timeout: call(
        number, ctypes.c_void_p(address), operation, value, timeout, None, 0
    )


_futex = _system_call()


def sleep_while(address: int, value: int, *, seconds: float) -> None:
    """Sleep while the int64 at `address` is `value`, until `wake` is called for that address.

    Return after `seconds` at the latest; a return for no reason may come earlier.
    """
    if _futex is None:
        time.sleep(NAP)
        return
    timeout = _Timeout(int(seconds), int(seconds % 1 * 1e9))
    # The kernel compares 32 bits, the lower ones on these machines, immediately before the sleep.
    # So no change is missed.
    _futex(address, _WAIT, value & 0xFFFFFFFF, ctypes.byref(timeout))


def wake(address: int) -> None:
    """Wake all processes that sleep until the int64 at `address` changes."""
    if _futex is not None:
        _futex(address, _WAKE, _EVERYBODY, None)
