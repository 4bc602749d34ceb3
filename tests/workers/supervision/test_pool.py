"""Children that stop at the worst moment."""

import os
import signal
import struct
import time

import pytest

from workers.supervision.child import Child, get_context
from workers.supervision.pool import WorkerPool


def speak(stops: bool, pipe) -> None:
    pipe.send("a whole message")
    if stops:
        os.write(pipe.fileno(), struct.pack("!i", 1000) + b"the beginning of another")
        os.kill(os.getpid(), signal.SIGSTOP)
    pipe.send(bytes(1_000_000))


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="stops a process")
def test_a_child_that_is_stopped_in_the_middle_of_a_message_is_replaced():
    received, told, stops = [], [], iter((True, False))
    pool = WorkerPool(
        start=lambda worker, restarts: Child(
            target=speak, task=next(stops), name="child", context=get_context("spawn")
        ),
        heartbeats=lambda: [1 if pool.children[0].last_words else time.monotonic_ns()],
        timeout=2.0,
        max_restarts=1,
        tell=lambda line, details: told.append((line, details)),
        receive=lambda worker, message: received.append(message),
    )
    pool.start(1)
    stopped, deadline = pool.children[0], time.monotonic() + 60
    while not received and time.monotonic() < deadline:
        pool.wait(0.1, [])
        pool.check()
    pool.end(patience=10)
    assert [len(message) for message in received] == [1_000_000], told
    ((line, details),) = told
    assert "no step for 2 s" in line and details == "a whole message"
    assert not stopped.process.is_alive()
