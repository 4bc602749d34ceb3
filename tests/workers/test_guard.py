"""The process that ends what environments leave."""

import os
import signal
import subprocess
import sys

import pytest

from tests.workers.runs import descendants, is_gone
from workers.guard import Guard, new_mark

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


def guards() -> set[int]:
    return {pid for pid, title in descendants(os.getpid()) if "guard.py" in title}


def test_a_stopped_guard_holds_up_nobody_and_harms_nobody():
    leader = subprocess.Popen(["sleep", "60"], start_new_session=True)
    before, guard, mark = guards(), Guard(), new_mark()
    guard.add(leader.pid, mark)
    (stopped,) = guards() - before
    os.kill(stopped, signal.SIGSTOP)
    for _ in range(5000):  # more than its pipe holds
        guard.add(leader.pid, mark)
    assert is_gone(stopped)
    assert len(guards() - before) == 1
    assert leader.poll() is None
    guard.end(leader.pid)
    assert leader.wait(10) == -signal.SIGKILL
