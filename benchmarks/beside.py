"""Training speed of this checkout beside another one's, both at the same time, a core each.

    python -m benchmarks.beside ../another-checkout --setting PongDeterministic-v4:1x16

Where other machines share the processor, speed varies by a tenth from one minute to the next. What
runs at the same moment varies alike, so a ratio is steadier than two speeds in turn. The two
programs change cores each round. Needs Linux, two cores and taskset.
"""

import argparse
import json
import statistics
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.throughput import ROOT, measure_training
from workers.process import limit_threads
from workers.records.provenance import git_commit, machine


def measure(
    setting: str, other: Path, *, rounds: int, seconds: float, extra: list[str]
) -> dict[str, Any]:
    """Measure one setting, ENV:WORKERSxENVS on a core, `rounds` times."""
    env_name, _, size = setting.rpartition(":")
    workers, envs = map(int, size.split("x"))
    ratios, speeds = [], {"this": list[float](), "other": list[float]()}
    for number in range(rounds):

        def run(program: Path, core: int) -> float:
            measured = measure_training(
                env_name, workers, envs, seconds, extra, program=program, core=core
            )
            return measured["steps_per_second"]

        with ThreadPoolExecutor(2) as pool:
            this = pool.submit(run, ROOT, number % 2)
            that = pool.submit(run, other, 1 - number % 2)
        speeds["this"].append(this.result())
        speeds["other"].append(that.result())
        ratios.append(round(this.result() / that.result(), 3))
        print(f"{setting} {' '.join(extra)} round {number}: {ratios[-1]}", flush=True)
    # Cores differ, too: each ratio has the other core's beside it.
    pairs = [(a * b) ** 0.5 for a, b in zip(ratios[::2], ratios[1::2], strict=False)]
    return {
        "setting": setting,
        **{f"{name}_steps_per_second": statistics.median(all_) for name, all_ in speeds.items()},
        "ratio": round(statistics.median(pairs or ratios), 3),
        "ratios": ratios,
    }


def main() -> None:
    """Measure, and print one JSON object."""
    limit_threads()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", help="another checkout")
    parser.add_argument("--setting", action="append", required=True, help="ENV:WORKERSxENVS")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    options, extra = parser.parse_known_args()
    other, plan = Path(options.other).absolute(), {"rounds": options.rounds}
    results = [
        measure(setting, other, **plan, seconds=options.seconds, extra=extra)
        for setting in options.setting
    ]
    described = {"commit": git_commit(), "machine": machine(), "extra_flags": extra}
    print(json.dumps(described | {"results": results}, indent=2))


if __name__ == "__main__":
    main()
