"""Little room for shared memory, as in Docker, and a temporary folder with too long a name."""

import os
import subprocess
import sys

import pytest

from tests.workers.runs import ROOT, SMALL

NAMESPACE = ["unshare", "--mount", "sh", "-euc"]


def may_mount() -> bool:
    command = [*NAMESPACE, "mount -t tmpfs -o size=1m tmpfs /dev/shm"]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(
    sys.platform != "linux" or os.getuid() != 0 or not may_mount(), reason="must be root, to mount"
)
@pytest.mark.parametrize("temporary_is_tiny", [False, True])
def test_a_tiny_dev_shm_is_done_without_or_named(tmp_path, tmp_path_factory, temporary_is_tiny):
    tiny = tmp_path_factory.mktemp("tiny")  # sockets lie in it, whose names must be short
    mount = "mount -t tmpfs -o size=1m tmpfs"
    mounts = f"{mount} /dev/shm; {mount} '{tiny}'; exec \"$@\""
    train = [sys.executable, str(ROOT / "main.py"), *SMALL, "--run-dir", str(tmp_path / "run")]
    train += ["--hidden-size", "512", "--num-layers", "3"]  # too large for 1 MiB
    train += ["--num-env-steps", "500", "--save-dir", ""]
    environment = os.environ | ({"TMPDIR": str(tiny)} if temporary_is_tiny else {})
    result = subprocess.run(
        [*NAMESPACE, mounts, "sh", *train],
        capture_output=True,
        text=True,
        env=environment,
        timeout=90,
    )
    if temporary_is_tiny:
        assert result.returncode == 1
        assert "--shm-size=1g" in result.stderr
        assert "Traceback" not in result.stderr
        assert not (tmp_path / "run").exists()  # which would refuse a second try
    else:
        assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.skipif(
    sys.platform != "linux", reason="only on Linux a server with a socket forks the workers"
)
def test_a_temporary_folder_with_too_long_a_name_for_a_socket_is_named(tmp_path):
    long = tmp_path / ("long" * 25)
    long.mkdir()
    train = [sys.executable, str(ROOT / "main.py"), *SMALL, "--run-dir", str(tmp_path / "run")]
    result = subprocess.run(
        train, capture_output=True, text=True, env=os.environ | {"TMPDIR": str(long)}, timeout=90
    )
    assert result.returncode == 2
    (sentence,) = result.stderr.splitlines()
    assert str(long) in sentence and "set TMPDIR to a folder with a shorter name" in sentence
    assert not list(long.iterdir())
