"""One frozen configuration; the command line is made from it, presets lie below explicit flags."""

from dataclasses import Field, dataclass, field, fields
from typing import Any

GROUPS = {
    "run": "Run",
    "environment": "Environment",
    "network": "Network",
    "algorithm": "Algorithm",
    "optimizer": "Optimizer",
    "evaluation": "Evaluation (the test worker)",
    "records": "Records and checkpoints",
    "reliability": "Reliability",
}


def flag(default: Any, help: str, *, aliases: tuple[str, ...] = (), **options: Any) -> Any:
    """A field with a flag; it stands in the --help group that the last `group` before it opened."""
    return field(default=default, metadata={"help": help, "aliases": aliases, **options})


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything a run can be told. Field `x_y` is flag `--x-y`; the metadata says how the parser takes it."""

    env_name: str = flag(
        "Pong-v0",
        "environment id, or module:Id for one of your own",
        aliases=("--env",),
        group="run",
    )
    algo: str = flag("a3c", "algorithm", choices=("a3c", "a2c", "ppo", "acktr"))
    exchange: str = flag(
        "hogwild",
        "when gradients act: hogwild: each at once, nobody waits; barrier: the mean of all workers', when all have met",
        choices=("hogwild", "barrier"),
    )
    preset: str = flag(
        "auto",
        "auto: what works best here for the environment's family; classic: pytorch-a3c's settings; "
        "authors: ACKTR's authors' for bodies; none: the plain defaults",
        choices=("auto", "classic", "authors", "none"),
    )
    num_processes: int = flag(
        4, "training workers; 0 means one a core", aliases=("--workers",), minimum=0
    )
    envs_per_process: int = flag(1, "environments that each worker steps together", minimum=1)
    seed: int = flag(
        1, "seed of the initial parameters and, with the worker's number, of each worker", minimum=0
    )
    num_env_steps: int = flag(
        10_000_000, "stop after this many environment steps of all workers (1e6 is fine)", minimum=1
    )
    max_seconds: float | None = flag(
        None,
        "stop training after this many seconds of wall clock; one evaluation follows",
        minimum=0.0,
    )
    stop_reward: float | None = flag(
        None, "stop when the mean return of the last 100 training episodes reaches this"
    )
    start_method: str = flag(
        "auto",
        "how processes start; auto: forkserver on Linux, spawn elsewhere",
        choices=("auto", "forkserver", "spawn", "fork"),
    )
    env_kwargs: tuple[str, ...] = flag(
        (), "arguments for the environment, as key=value", repeated=True, group="environment"
    )
    env_module: tuple[str, ...] = flag(
        (), "modules to import first: those that register environments", repeated=True
    )
    obs_mode: str = flag(
        "auto",
        "Atari observations: a grey frame of 42x42, a stack of four (much cheaper than one of 84x84), or RAM; auto: stack84 for "
        "NoFrameskip ids, otherwise frame42",
        choices=("auto", "frame42", "stack42", "stack84", "ram"),
    )
    max_episode_length: int = flag(
        1_000_000, "cut episodes after this many steps (bootstrapped, not terminal)", minimum=1
    )
    scale_rewards: bool = flag(
        False, "divide training rewards by the running deviation of their discounted sum"
    )
    network: str = flag(
        "auto",
        "convolutions; auto: four small ones for 42x42, DQN's three for 84x84; narrow: half the channels in the third of these, "
        "as in ACKTR's paper; impala: fifteen, residual, for images",
        choices=("auto", "narrow", "impala"),
        group="network",
    )
    precision: str = flag(
        "float32",
        "in which images are convolved while training; bfloat16 learns from them 1.5 to 1.7 times as fast on processors that "
        "have AMX, and perhaps more slowly on others",
        choices=("float32", "bfloat16"),
    )
    recurrent: str = flag(
        "none", "recurrent core after the shared layers", choices=("none", "lstm", "gru")
    )
    hidden_size: int = flag(256, "units of the recurrent core and of MLP layers", minimum=1)
    num_layers: int = flag(2, "layers of the MLP for vector observations", minimum=0)
    num_shared_layers: int = flag(
        0,
        "how many of them actor and critic share; the recurrent core comes after these",
        minimum=0,
    )
    initial_log_std: float = flag(
        -0.5, "Box actions: logarithm of the policy's standard deviation at the start"
    )
    state_dependent_std: bool = flag(
        False, "Box actions: let the network give the standard deviation"
    )
    squash_actions: bool = flag(
        False, "Box actions: squash into the bounds with tanh instead of clipping"
    )
    activation: str = flag("relu", "activation of the body", choices=("relu", "elu", "tanh"))
    num_steps: int = flag(
        20,
        "steps of each environment between two updates of a worker",
        minimum=1,
        group="algorithm",
    )
    distributed_step_size: tuple[int, ...] = flag(
        (), "several --num-steps, dealt to the workers in turn", repeated=True, minimum=1
    )
    gamma: float = flag(0.99, "discount", minimum=0.0, maximum=1.0)
    gae_lambda: float = flag(
        1.0,
        "lambda of the advantage; 1 is the n-step return",
        aliases=("--tau",),
        minimum=0.0,
        maximum=1.0,
    )
    value_gae_lambda: float | None = flag(
        None,
        "lambda of the returns that the critic learns; default: --gae-lambda",
        minimum=0.0,
        maximum=1.0,
    )
    whole_episodes: bool = flag(
        False,
        "let a segment go on until its episode ends, for twice --num-steps at most; with one environment a worker",
    )
    use_proper_time_limits: bool = flag(
        True,
        "take episodes that a time limit cut for unfinished (bootstrap them); with no-, for ended",
    )
    normalize_advantages: bool = flag(
        False, "give advantages mean 0 and deviation 1 over the batch of all workers"
    )
    entropy_coef: float = flag(0.01, "weight of the entropy bonus", minimum=0.0)
    entropy_scale: str = flag(
        "constant",
        "a3c, a2c, acktr: advantage multiplies --entropy-coef by the root mean square of the advantages",
        choices=("constant", "advantage"),
    )
    value_loss_coef: float = flag(
        0.5, "weight of the squared value error", aliases=("--value-coef",), minimum=0.0
    )
    bounds_loss_coef: float = flag(
        0.0,
        "Box actions: weight of the squared distance by which the policy's means leave the bounds",
        minimum=0.0,
    )
    auxiliary_heads: str | None = flag(
        None, "module:function that returns auxiliary heads, see a3c/auxiliary.py"
    )
    auxiliary_loss_coef: float = flag(0.3, "weight of their losses", minimum=0.0)
    max_grad_norm: float = flag(
        0.5,
        "longest gradient; longer ones are scaled down (acktr: in the cold updates only)",
        minimum=1e-9,
    )
    loss_reduction: str = flag(
        "mean", "losses over a segment's steps; ppo: always mean", choices=("mean", "sum")
    )
    clip_param: float = flag(
        0.2, "ppo: how far the ratio of probabilities may move from 1", minimum=0.0
    )
    ppo_epoch: int = flag(2, "ppo: passes over a segment", minimum=1)
    num_mini_batch: int = flag(
        1, "ppo: minibatches in a pass; of whole sequences if the network is recurrent", minimum=1
    )
    use_clipped_value_loss: bool = flag(False, "ppo: clip the values' change by --clip-param, too")
    target_kl: float | None = flag(
        None, "ppo: end the passes where the policy has moved this far", minimum=0.0
    )
    optimizer: str = flag(
        "adam",
        "rmsprop_tf has epsilon inside the root; kfac is acktr's",
        choices=("adam", "rmsprop", "rmsprop_tf", "kfac"),
        group="optimizer",
    )
    lr: float = flag(1e-4, "learning rate", aliases=("--learning-rate",), minimum=0.0)
    use_linear_lr_decay: bool = flag(False, "let the learning rate fall to 0 at --num-env-steps")
    eps: float = flag(1e-5, "epsilon of Adam or RMSprop", minimum=1e-12)
    alpha: float = flag(0.99, "decay of RMSprop's mean square", minimum=0.0, maximum=0.999999)
    betas: tuple[float, ...] = flag(
        (0.9, 0.999),
        "decays of Adam's moments",
        repeated=True,
        count=2,
        minimum=0.0,
        maximum=0.999999,
    )
    amsgrad: bool = flag(False, "AMSGrad variant of Adam")
    momentum: float = flag(0.9, "kfac: momentum", minimum=0.0, maximum=0.999999)
    kl_clip: float = flag(
        0.001,
        "kfac: how far one step may go, as twice the divergence in nats of the policies before and after",
        minimum=0.0,
    )
    value_kl_clip: float | None = flag(
        None,
        "kfac: the same for the critic's own layers; without it, and --value-updates, they share the policy's",
        minimum=0.0,
    )
    value_updates: int = flag(
        0,
        "acktr: steps of the critic alone on each batch, before the policy's; 0: one step of both",
        minimum=0,
    )
    value_lr: float | None = flag(None, "acktr: the step size of those; default: --lr", minimum=0.0)
    value_damping: float | None = flag(
        None, "kfac: --damping of the critic's own layers; default: the same", minimum=1e-12
    )
    value_stat_decay: float | None = flag(
        None, "kfac: --stat-decay of the critic's; default: the same", minimum=0.0, maximum=0.999999
    )
    value_cold_updates: int | None = flag(
        None, "kfac: --kfac-cold-updates of the critic's; default: the same", minimum=0
    )
    desired_kl: float | None = flag(
        None,
        "acktr: adapt the step size until a step moves the policy this far, in nats on its batch",
        minimum=1e-12,
    )
    damping: float = flag(
        0.01,
        "kfac: what is added to the curvature's eigenvalues; with cholesky its root, shared by both factors",
        minimum=1e-12,
    )
    stat_decay: float = flag(
        0.99, "kfac: decay of the factors' running averages", minimum=0.0, maximum=0.999999
    )
    fisher_steps: int = flag(
        0,
        "acktr: steps of all workers' batch that the curvature is sampled at; 0: all, or --num-steps of --whole-episodes",
        minimum=0,
    )
    kfac_factor_interval: int = flag(
        1, "kfac: updates between two contributions to the factors", minimum=1
    )
    kfac_inverse_interval: int = flag(10, "kfac: updates between two inversions", minimum=1)
    kfac_cold_updates: int = flag(
        10, "kfac: plain updates at the start, over which the first factors are averaged", minimum=0
    )
    kfac_inverse: str = flag(
        "cholesky",
        "kfac: how factors are inverted; eigh is exact in the damping and slower",
        choices=("cholesky", "eigh"),
    )
    value_fisher_coef: float = flag(
        1.0, "acktr: weight of the values in the curvature", minimum=0.0
    )
    no_shared: bool = flag(False, "hogwild: give every worker optimizer statistics of its own")
    eval_interval: float = flag(
        60.0, "seconds between evaluations; 0: only one at the end", minimum=0.0, group="evaluation"
    )
    eval_episodes: int = flag(5, "episodes of an evaluation, the same seeds each time", minimum=1)
    eval_sampled: bool = flag(
        False, "sample the actions in evaluations instead of taking the most probable"
    )
    eval_nice: int | None = flag(
        None,
        "how much lower the test worker's priority is (0-19); default: 5, or 0 if workers outnumber the cores",
        minimum=0,
        maximum=19,
    )
    video_interval: int = flag(
        100,
        "film the first evaluation episode, one every so many, and the last policy; 0: none",
        minimum=0,
    )
    log_dir: str = flag("runs", "folder of the run folders", group="records")
    run_dir: str | None = flag(
        None, "this run's folder; default: <log-dir>/<env>_<algo>_s<seed>_<time>"
    )
    resume: str | None = flag(None, "go on with a run: its folder, or auto for the newest")
    load: str | None = flag(
        None,
        "begin a new run with the policy of another: its folder (the newest checkpoint), or a file such as its best.pt; "
        "with it go its deviation, and how observations and, from a folder, rewards are scaled",
    )
    save_dir: str = flag(
        "./trained_models/",
        "also keep the newest policy as <save-dir>/<algo>/<env>.pt; empty: do not",
    )
    save_interval: int = flag(
        100,
        "segments of each worker between two writes to --save-dir (at most one in 10 s)",
        minimum=1,
    )
    log_interval: int = flag(
        10, "segments of each worker between two rows of metrics (at most one a second)", minimum=1
    )
    checkpoint_interval: float = flag(120.0, "seconds between checkpoints", minimum=1.0)
    keep_checkpoints: int = flag(3, "how many checkpoints stay", minimum=1)
    tensorboard: bool = flag(True, "write TensorBoard events when it is installed")
    track: bool = flag(False, "send the metrics to Weights & Biases")
    wandb_project_name: str = flag("a3c", "project on Weights & Biases")
    wandb_entity: str | None = flag(None, "user or team on Weights & Biases")
    worker_timeout: float = flag(
        60.0,
        "seconds without a step after which a worker counts as hung and is replaced",
        minimum=0.1,
        group="reliability",
    )
    max_restarts: int = flag(
        100, "replacements of workers after which the run gives up (exit code 3)", minimum=0
    )
    debug: bool = flag(False, "show the stack trace of an error")


class OtherVersion(Exception):
    """A saved configuration that this version does not understand; one sentence."""


def saved_config(state: dict[str, Any]) -> dict[str, Any]:
    """The fields of a checkpoint's configuration. OtherVersion."""
    saved: dict[str, Any] = state["config"]
    if (
        saved.get("algo") == "ppo" and "load" not in saved
    ):  # of a time when PPO did so whatever the flag said
        saved = saved | {"normalize_advantages": True}
    unknown = {*saved} - {field.name for field in fields(Config)}
    if unknown:
        raise OtherVersion(
            f"the checkpoint knows settings that this version does not ({', '.join(sorted(unknown))}); use the one that saved it"
        )
    return saved


def flag_name(config_field: "Field[Any]") -> str:
    """The command-line spelling of a field."""
    return "--" + config_field.name.replace("_", "-")
