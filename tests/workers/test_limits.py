"""The limit of open files."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be():
    code = """
        import resource
        from workers.limits import raise_file_limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 300))
        raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (300, 300)
        raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (300, 300)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_more_workers_than_the_limit_allows_are_refused_with_the_fix():
    code = """
        import resource, sys
        from workers.supervision.launch import launch
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        words = "--env-name envs.toys:Bandit-v0 --num-processes 16 --run-dir".split()
        sys.exit(launch([*words, sys.argv[1]]))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), "never-made"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    (sentence,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert "is 64; raise it (ulimit -n 4096" in sentence
    assert "or use --num-processes 9" in sentence
    assert not (ROOT / "never-made").exists()
