"""Sleeping until a number in shared memory changes; the kernel forgets sleepers that die, so nothing can stay locked."""

import ctypes
import platform
import sys
import time
from collections.abc import Callable

_NUMBERS = {"x86_64": 202, "aarch64": 98}
_WAIT, _WAKE = 0, 1
_EVERYBODY = 0x7FFFFFFF
NAP = 1e-4  # seconds; where the kernel can't wake us, we look that often


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
    """Returns when `wake` is called for the int64 at `address`, or it is not `value`, or after `seconds`; perhaps earlier."""
    if _futex is None:
        time.sleep(NAP)
        return
    timeout = _Timeout(int(seconds), int(seconds % 1 * 1e9))
    # The kernel compares 32 bits, the lower ones on these machines, and only then lets us sleep: no change is missed.
    _futex(address, _WAIT, value & 0xFFFFFFFF, ctypes.byref(timeout))


def wake(address: int) -> None:
    """Wakes everybody who sleeps until the int64 at `address` changes."""
    if _futex is not None:
        _futex(address, _WAKE, _EVERYBODY, None)
