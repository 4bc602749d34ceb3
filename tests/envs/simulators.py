"""An environment with processes and a thread of its own, as those have that drive simulators.

Its ids are `tests.envs.simulators:Simulated-v0` with `folder=...`, where it notes what it does.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import gymnasium as gym

from envs.toys import Bandit

FOREVER = 1e6
PROGRAM = [sys.executable, "-S", "-c", f"import time; time.sleep({FOREVER})"]


class Simulated(Bandit):
    """A bandit beside a program, a program in a session of its own, and a forked process."""

    def __init__(self, *, folder: str, close: str = "terminate") -> None:
        super().__init__()
        self._folder, self._close = Path(folder), close
        self._programs = [
            subprocess.Popen(PROGRAM),
            subprocess.Popen(PROGRAM, start_new_session=True),
        ]
        self._fork = multiprocessing.get_context("fork").Process(
            target=time.sleep, args=(FOREVER,), daemon=True
        )
        self._fork.start()
        for helper in (*self._programs, self._fork):
            (self._folder / f"helper-{helper.pid}").touch()
        threading.Thread(target=time.sleep, args=(FOREVER,), daemon=False).start()

    def close(self) -> None:
        """End as `close` says: "terminate" ends the helpers, "hang" and "raise" do not."""
        if self._close == "hang":
            time.sleep(FOREVER)
        if self._close == "raise":
            raise RuntimeError("the simulator has lost its connection")
        for helper in (*self._programs, self._fork):
            helper.terminate()
        codes = [program.wait() for program in self._programs]
        self._fork.join()
        (self._folder / f"closed-{os.getpid()}").write_text(f"{codes} {self._fork.exitcode}")


class Talkative(Bandit):
    """A bandit that prints in every way there is."""

    def __init__(self) -> None:
        super().__init__()
        print("printed by Python")
        print("an error by Python", file=sys.stderr)
        os.write(1, b"written to descriptor 1\n")
        os.write(2, b"written to descriptor 2\n")
        ctypes.CDLL(None).printf(b"printed by C\n")


for _kind in (Simulated, Talkative):
    if f"{_kind.__name__}-v0" not in gym.registry:
        gym.register(f"{_kind.__name__}-v0", entry_point=f"tests.envs.simulators:{_kind.__name__}")
