"""Why processes die, in words."""

import pytest

from workers.supervision.causes import cause_of_error, cause_of_exit, place_in_dump
from workers.supervision.memory_kills import MemoryKills, count_kills

TRACEBACK = """Traceback (most recent call last):
  File "/home/me/robot.py", line 7, in {first}
    self.arm.move(action)
  File "/usr/lib/python3/site-packages/arm/driver.py", line 90, in move
    raise OSError("no arm")
OSError: no arm
it was unplugged
"""


@pytest.mark.parametrize("function", ["step", "reset"])
def test_an_error_is_blamed_on_the_users_own_line(function):
    cause = cause_of_error(TRACEBACK.format(first=function))
    assert cause.words == "OSError: no arm, file /home/me/robot.py, line 7"
    assert cause.in_reset == (function == "reset")
    assert cause.repeats == cause_of_error(TRACEBACK.format(first=function)).repeats


def test_an_error_after_an_error_is_the_last_one():
    second = TRACEBACK.replace("OSError", "ValueError").replace("line 7", "line 9")
    handled = "\nDuring handling of the above exception, another exception occurred:\n\n"
    cause = cause_of_error(TRACEBACK + handled + second)
    assert cause.words.startswith("ValueError: no arm, file /home/me/robot.py, line 9")


def test_exits_without_a_word():
    assert cause_of_exit(-9).words == "killed by SIGKILL"
    assert cause_of_exit(-9).repeats is None
    assert "a crash of compiled code" in cause_of_exit(-11).words
    assert cause_of_exit(-11).repeats == "SIGSEGV"
    assert "does its environment call os._exit()?" in cause_of_exit(0).words


def test_a_dump_of_faulthandler_begins_with_the_newest_line():
    dump = (
        "Fatal Python error: Segmentation fault\n\nCurrent thread 0x1 (most recent call first):\n"
        '  File "/usr/lib/python3/site-packages/arm/driver.py", line 90 in move\n'
        '  File "/home/me/robot.py", line 7 in step\n'
        '  File "/home/me/train.py", line 1 in main\n'
    )
    assert place_in_dump(dump) == ", file /home/me/robot.py, line 7"
    assert place_in_dump("") == ""


def test_a_dump_names_no_line_of_another_thread():
    dump = (
        "Fatal Python error: Segmentation fault\n\nThread 0x2 (most recent call first):\n"
        '  File "/usr/lib/python3/site-packages/selectors.py", line 415 in select\n\n'
        "Current thread 0x1 (most recent call first):\n"
        '  File "/usr/lib/python3/site-packages/arm/driver.py", line 90 in move\n\n'
        "Thread 0x3 (most recent call first):\n"
        '  File "/home/me/camera.py", line 5 in watch\n\n'
        "Extension modules: numpy (total: 1)\n"
    )
    assert place_in_dump(dump) == ", file /usr/lib/python3/site-packages/arm/driver.py, line 90"


def test_the_kernels_count_of_kills_for_memory():
    counts = iter([3, 3, 4, 4])
    kills = MemoryKills(count=lambda: next(counts))
    assert [kills.happened() for _ in range(3)] == [False, True, False]
    assert count_kills() >= 0
