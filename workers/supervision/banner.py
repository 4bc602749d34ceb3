"""The banner: what a run is, in a few lines at its start."""

from workers.process import cores
from workers.records.provenance import versions
from workers.supervision.run import Run


def banner(run: Run) -> list[tuple[str, str]]:
    """Return rows of (label, value)."""
    config, folder = run.config, str(run.folder.path)
    segment = f"{config.num_steps} steps x {config.envs_per_process} a segment"
    plural = "s" * (config.envs_per_process > 1)
    resumed = f"   (resumed at {run.start_steps:,} steps)" if run.resumed else ""
    return [
        (config.algo, _programs()),
        ("env", _environment(run)),
        *([("", run.environment.note)] if run.environment.note else []),
        ("model", _model(run)),
        ("learning", f"shared {config.optimizer}, lr {config.lr:g}, {segment}"),
        (
            "workers",
            f"{config.num_processes}, each with {config.envs_per_process} environment{plural}",
        ),
        *_advice(run),
        ("tests", _evaluations(run)),
        ("run", folder + resumed),
        ("stops at", " or ".join(_ends(run)) + "   (Ctrl-C saves and stops)"),
    ]


def _programs() -> str:
    found = versions()
    names = f"torch {found['torch']}, gymnasium {found['gymnasium']}, Python {found['python']}"
    return f"{names}, {cores()} cores"


def _environment(run: Run) -> str:
    shape = "x".join(map(str, run.spaces.observation_shape))
    observations = f"observations {shape} ({run.spaces.observation})"
    return f"{run.config.env_name}   {observations}   {run.spaces.num_actions} actions"


def _model(run: Run) -> str:
    config = run.config
    core = "" if config.recurrent == "none" else f" + {config.recurrent}{config.hidden_size}"
    body = type(run.model.body).__name__ + core
    return f"{body}   {run.num_parameters:,} parameters   preset {config.preset}"


def _advice(run: Run) -> list[tuple[str, str]]:
    num_workers, num_cores = run.config.num_processes, cores()
    if num_workers <= num_cores:
        return []
    envs = max(16, num_workers // num_cores)
    better = f"--num-processes {num_cores} --envs-per-process {envs}"
    return [("", f"more workers than cores: {better} would be faster")]


def _evaluations(run: Run) -> str:
    config = run.config
    when = f"every {config.eval_interval:g} s" if config.eval_interval else "at the end"
    how, other = (
        ("drawn", "--no-eval-sampled")
        if config.eval_sampled
        else ("most probable", "--eval-sampled")
    )
    plural = "s" * (config.eval_episodes > 1)
    return f"{config.eval_episodes} episode{plural} {when}, {how} actions   (otherwise: {other})"


def _ends(run: Run) -> list[str]:
    """Return the conditions that end the run."""
    config = run.config
    ends = [f"{config.num_env_steps:,} steps"]
    if config.max_seconds is not None:
        ends.append(f"{config.max_seconds:g} s")
    if config.stop_reward is not None:
        ends.append(f"a training return of {config.stop_reward:g}")
    return ends
