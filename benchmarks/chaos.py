"""Break a run on purpose, at random moments, for as long as it is told (Linux).

    python -m benchmarks.chaos --seconds 3600 --seed 1 --out results/chaos_a3c.csv -- \\
        --algo a3c --env-name CartPole-v1 --num-processes 3

A sitting trains with main.py's flags after `--`, while faults strike its processes every second or
two. It ends by a signal or a kill; the next sitting resumes it, perhaps after a checkpoint was
damaged. The table has one row a sitting. Exit code 1 if anything was lost, left behind or stuck.
"""

import argparse
import csv
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.sitting import FAULTS, Lost, Sitting, newest_steps
from workers.records import checkpoint
from workers.records.provenance import git_commit, machine


def damage(run: Path, chance: random.Random) -> str:
    """Damage the newest checkpoint where there are two, or leave an unfinished file; say which."""
    paths = sorted((run / "checkpoints").glob("checkpoint_*.pt"))
    (run / "checkpoints" / ".checkpoint_000000000001.pt.1.tmp").write_bytes(b"unfinished")
    kind = chance.choice(["nothing", "nothing", "cut", "emptied", "one bit", "no digest"])
    if len(paths) < 2 or kind == "nothing":
        return "nothing"
    data = bytearray(paths[-1].read_bytes())
    if kind == "no digest":
        checkpoint.digest_path(paths[-1]).unlink()
        return kind
    if kind == "one bit":
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    left = {"cut": len(data) // 2, "emptied": 0}.get(kind, len(data))
    paths[-1].write_bytes(data[:left])
    return kind


def sit(run: Path, flags: list[str], *, seconds: float, chance: random.Random) -> dict[str, Any]:
    """Train for `seconds` with faults; return one row of the table."""
    resume = (run / "checkpoints").is_dir() and newest_steps(run) > 0
    if not resume:
        shutil.rmtree(run, ignore_errors=True)
    kept = newest_steps(run) if resume else 0
    before = set(os.listdir("/dev/shm"))
    sitting = Sitting(run, flags, resume=resume, chance=chance)
    row: dict[str, Any] = {"from_steps": kept, "end": "", "exit_code": "", "problem": ""}
    try:
        sitting.wait_for_steps(0)
        if sitting.steps < kept:
            raise Lost(f"resumed at {sitting.steps} steps of {kept}")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(chance.uniform(0.2, 2.0))
            for _ in range(chance.randint(1, 3)):
                sitting.strike()
            sitting.wait_for_steps(sitting.steps)
            sitting.sample()
        sitting.check_flat()
        row["end"], row["exit_code"], row["seconds_to_end"] = sitting.end()
        row["seconds_to_end"] = round(row["seconds_to_end"], 1)
        sitting.check_gone()
        check_shared_memory(before)
        if newest_steps(run) < kept:
            raise Lost(f"{newest_steps(run)} steps are saved of {kept}")
    except Lost as problem:
        row["problem"] = str(problem)
        sitting.family.kill()
        sitting.main.wait()
    return row | figures(sitting)


def check_shared_memory(before: set[str]) -> None:
    """Raise Lost if something that was not there `before` stays in /dev/shm for 20 s."""
    left = set(os.listdir("/dev/shm")) - before
    for _ in range(20):
        left &= {*os.listdir("/dev/shm")}
        if not left:
            return
        time.sleep(1)
    raise Lost(f"left in /dev/shm: {', '.join(sorted(left))}")


def figures(sitting: Sitting) -> dict[str, Any]:
    """Return what was counted in a sitting: descriptors, threads and MB at its start and end."""
    (fds, threads, memory), (last_fds, last_threads, last_memory) = (
        (sitting.samples[0], sitting.samples[-1]) if sitting.samples else ((0, 0, 0.0),) * 2
    )
    return {
        "to_steps": sitting.steps,
        "restarts": sitting.restarts,
        "faults": sum(sitting.faults.values()),
        **{name: sitting.faults[name] for name in FAULTS},
        "descriptors": f"{fds} {last_fds}",
        "threads": f"{threads} {last_threads}",
        "memory_mb": f"{memory:.0f} {last_memory:.0f}",
    }


def main() -> int:
    """Run sittings until the time is over; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="(default: 60)")
    parser.add_argument("--sitting", type=float, default=60.0, help="longest one, in seconds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="a .csv file")
    parser.add_argument("flags", nargs="+", help="main.py's flags, after --")
    options = parser.parse_args()
    chance, deadline = random.Random(options.seed), time.monotonic() + options.seconds
    run = Path(tempfile.mkdtemp(prefix="chaos")) / "run"
    rows: list[dict[str, Any]] = []
    while time.monotonic() < deadline:
        seconds = chance.uniform(options.sitting / 4, options.sitting)
        rows.append(sit(run, options.flags, seconds=seconds, chance=chance))
        rows[-1]["then_damaged"] = damage(run, chance)
        print({name: value for name, value in rows[-1].items() if value}, flush=True)
        write(options.out, rows, command=options.flags, seed=options.seed)
        if rows[-1]["problem"]:
            shutil.copy(run.with_suffix(".out"), options.out.with_suffix(f".{len(rows)}.out"))
    shutil.rmtree(run.parent)
    problems = [row["problem"] for row in rows if row["problem"]]
    restarts, faults = (sum(row[name] for row in rows) for name in ("restarts", "faults"))
    print(
        f"{len(rows)} sittings, {faults} faults, {restarts} replacements, {problems or 'no loss'}"
    )
    return 1 if problems else 0


def write(path: Path, rows: list[dict[str, Any]], *, command: list[str], seed: int) -> None:
    """Write the table, with commit, machine, seed and flags in its first line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for row in rows for name in row))
    with open(path, "w", newline="") as file:
        file.write(f"# commit {git_commit()}, {machine()}, seed {seed}, {' '.join(command)}\n")
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(main())
