"""Places that are full, gone or not writable: a run says so, keeps elsewhere, and ends right."""

import importlib.util
import json
import os
import resource
import shutil
import signal
import subprocess
import sys

import pytest

from tests.workers.runs import ROOT, SMALL, RunningMain, is_gone, wait_until
from workers.records import checkpoint

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits other processes' files")
LONG = ("--num-env-steps", "1e9")


@pytest.fixture
def start(tmp_path):
    runs = []

    def begin(*arguments):
        runs.append(RunningMain(tmp_path / "run", *arguments))
        return runs[-1]

    yield begin
    for run in runs:
        run.kill()


def limit_files(run, num_bytes):
    """Let the main process write no file that is larger."""
    resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, (num_bytes, num_bytes))


def test_a_run_whose_folder_is_deleted_goes_on_elsewhere_and_resumes(start, tmp_path):
    run = start(*LONG)
    run.wait_for(500)
    shutil.rmtree(run.folder, ignore_errors=True)
    run.folder = tmp_path / "run-moved"
    sentence = f"from now on everything is kept in {run.folder}, which --resume takes"
    wait_until(lambda: sentence in run.text, 30, run)
    victim = run.workers[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: is_gone(victim) and len(run.workers) == 2, 30, run)
    wait_until(lambda: run.status["restarts"] == 1, 30, run)
    run.process.send_signal(signal.SIGTERM)
    assert run.finish(60) == 143
    assert run.text.count("[warn]") == 2, run.text  # of the folder, of the worker
    assert json.loads((run.folder / "config.json").read_text())["num_processes"] == 2
    steps = run.status["steps"]
    assert f"all {steps:,} steps are saved in {run.folder / 'checkpoints'}" in run.text
    again = RunningMain(run.folder, "--num-env-steps", str(steps + 100), resume=True)
    assert again.finish() == 0, again.text
    assert again.status["steps"] >= steps + 100


def test_nothing_saved_at_the_end_is_not_exit_code_0(start):
    run = start(*LONG, "--max-seconds", "4")
    run.wait_for(20)
    limit_files(run, 20_000)
    assert run.finish(90) == 1
    assert (run.status["state"], run.status["exit_code"]) == ("failed", 1)
    reason = "file too large; raise the limit of 20000 bytes in a file first (ulimit -f unlimited)"
    assert f"no checkpoint was saved ({reason})" in run.text
    assert "--resume" not in run.text
    assert ("play it" in run.text) == (run.folder / "best.pt").exists()
    assert not [*run.folder.parent.glob("run-moved*")]


def test_a_stopped_run_says_what_it_could_not_save_and_why_a_place_is_not_written(start, tmp_path):
    (tmp_path / "file").touch()
    run = start(*LONG, "--save-dir", str(tmp_path / "file" / "below"))
    run.wait_for(500)
    run.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: [*(run.folder / "checkpoints").glob("*.pt")], 30, run)
    kept, state, _ = checkpoint.latest(run.folder / "checkpoints")
    run.wait_for(state["steps"] + 100)
    limit_files(run, 20_000)
    run.process.send_signal(signal.SIGTERM)
    assert run.finish(60) == 143
    assert run.status["state"] == "interrupted"
    only = f"only {state['steps']:,} of {run.status['steps']:,} steps are saved (file too large; "
    assert only in run.text
    assert f"the last good checkpoint is {kept}" in run.text
    (warning,) = [line for line in run.text.splitlines() if "below" in line]
    assert "(not a directory); choose a place below a folder" in warning
    assert "with --save-dir" in warning


NAMESPACE = ["unshare", "--mount", "sh", "-euc"]


def may_mount(where):
    command = [*NAMESPACE, f"mount -t tmpfs -o size=8k tmpfs '{where}'"]
    return os.getuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0


def run_on_small_disk(tmp_path, size, *arguments):
    """Train on a file system of `size` bytes; print the folder's names and its status at last."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if not may_mount(disk):
        pytest.skip("must be root, to mount")
    script = (
        f"mount -t tmpfs -o size={size} tmpfs '{disk}'; code=0; \"$@\" || code=$?; "
        f"find '{disk}' -mindepth 1; cat '{disk}/run/status.json' || true; exit $code"
    )
    words = [*SMALL, "--run-dir", str(disk / "run"), "--save-dir", "", *arguments]
    train = [sys.executable, str(ROOT / "main.py"), *words]
    return subprocess.run(
        [*NAMESPACE, script, "sh", *train],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )


def test_what_does_not_fit_at_the_end_is_kept_elsewhere(tmp_path):
    few = ("--num-env-steps", "400", "--no-tensorboard")
    done = run_on_small_disk(tmp_path, "40k", *few)
    assert done.returncode == 0, done.stdout + done.stderr
    moved = tmp_path / "runs" / "run-moved"
    assert "could not be written (no space left on device; free some space there)" in done.stdout
    assert "steps are saved in runs/run-moved/checkpoints" in done.stdout
    assert checkpoint.latest(moved / "checkpoints")[1]["steps"] >= 400
    full = json.loads(done.stdout[done.stdout.index("{\n") :])
    kept = json.loads((moved / "status.json").read_text())
    assert (full["state"], kept["state"]) == ("done", "done")
    assert full["moved_to"] == "runs/run-moved"


def test_a_disk_that_is_full_at_the_start_is_one_sentence_and_leaves_nothing(tmp_path):
    done = run_on_small_disk(tmp_path, "4k")
    assert done.returncode == 1
    sentence = done.stderr.splitlines()[0]
    assert "command.txt: no space left on device; free some space there" in sentence
    assert done.stdout == ""


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="it would be found")
def test_a_run_that_is_refused_leaves_no_folder_that_refuses_the_next(tmp_path):
    run = RunningMain(tmp_path / "run", "--track")
    assert run.finish(90) == 2
    assert "pip install wandb" in run.text
    assert not run.folder.exists()
