"""One frozen configuration. The command line is made from it; presets lie below typed flags."""

from dataclasses import dataclass

from workers.settings.fields import flag


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every setting of a run.

    Field `x_y` is flag `--x-y`; fields stand in the order of --help.
    """

    env_name: str = flag(
        "Pong-v0", "environment id, or module:Id for your own", aliases=("--env",), group="run"
    )
    algo: str = flag(
        "a3c", "algorithm: a3c, a2c, ppo or acktr, or module:attribute for a recipe of your own"
    )
    exchange: str = flag(
        "hogwild",
        "when gradients act; hogwild: each at once, nobody waits; barrier: the mean of all "
        "workers' gradients, as soon as all are there",
        choices=("hogwild", "barrier"),
    )
    preset: str = flag(
        "auto",
        "auto: what worked best here for this kind of environment; classic: pytorch-a3c's "
        "settings; authors: those of ACKTR's authors, for bodies; none: the defaults",
        choices=("auto", "classic", "authors", "none"),
    )
    num_processes: int = flag(
        4, "training workers; 0: one for each core", aliases=("--workers",), minimum=0
    )
    envs_per_process: int = flag(1, "environments that each worker steps together", minimum=1)
    seed: int = flag(
        1,
        "seed of the initial parameters and, with the worker's number, of each worker",
        minimum=0,
        maximum=2**63 - 1,  # torch takes no more
    )
    num_env_steps: int = flag(
        10_000_000, "stop after this many environment steps of all workers; 1e6 is fine", minimum=1
    )
    max_seconds: float | None = flag(
        None, "stop training after this many seconds; one evaluation follows", minimum=0.0
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
        (),
        "arguments for the environment, as key=value, such as p=0.5 sizes=[1,2] on=true name=word",
        repeated=True,
        group="environment",
    )
    env_module: tuple[str, ...] = flag(
        (), "modules to import first, such as those that register environments", repeated=True
    )
    obs_mode: str = flag(
        "auto",
        "Atari observations: one grey frame of 42x42, a stack of four frames (42x42 is much "
        "cheaper than 84x84), or RAM; auto: stack84 for NoFrameskip ids, otherwise frame42",
        choices=("auto", "frame42", "stack42", "stack84", "ram"),
    )
    max_episode_length: int = flag(
        1_000_000, "cut episodes after this many steps (bootstrapped, not terminal)", minimum=1
    )
    scale_rewards: bool = flag(
        False, "divide training rewards by the running standard deviation of their discounted sum"
    )
    network: str = flag(
        "auto",
        "convolutions; auto: four small ones for 42x42, DQN's three for 84x84; narrow: DQN's with "
        "half the channels in the third, as in ACKTR's paper; impala: fifteen, residual",
        choices=("auto", "narrow", "impala"),
        group="network",
    )
    precision: str = flag(
        "float32",
        "number format of the convolutions while learning; bfloat16 makes learning from images "
        "1.5 to 1.7 times as fast on processors with AMX, and may be slower on others",
        choices=("float32", "bfloat16"),
    )
    recurrent: str = flag(
        "none", "recurrent core after the shared layers", choices=("none", "lstm", "gru")
    )
    hidden_size: int = flag(256, "units of the recurrent core and of each MLP layer", minimum=1)
    num_layers: int = flag(2, "layers of the MLP for vector observations", minimum=0)
    num_shared_layers: int = flag(
        0, "how many of these actor and critic share; the recurrent core comes after", minimum=0
    )
    initial_log_std: float = flag(
        -0.5, "Box actions: logarithm of the policy's standard deviation at the start"
    )
    state_dependent_std: bool = flag(
        False, "Box actions: let the network compute the standard deviation"
    )
    squash_actions: bool = flag(
        False, "Box actions: squash into the bounds with tanh instead of clipping"
    )
    activation: str = flag("relu", "activation of the body", choices=("relu", "elu", "tanh"))
    fast: bool = flag(
        True, "use the code that computes the same numbers sooner; with no-, plain PyTorch only"
    )
    num_steps: int = flag(
        20, "steps of each environment between a worker's updates", minimum=1, group="algorithm"
    )
    distributed_step_size: tuple[int, ...] = flag(
        (), "several --num-steps, dealt to the workers in turn", repeated=True, minimum=1
    )
    gamma: float = flag(0.99, "discount", minimum=0.0, maximum=1.0)
    gae_lambda: float = flag(
        1.0, "lambda of advantages; 1: n-step return", aliases=("--tau",), minimum=0.0, maximum=1.0
    )
    value_gae_lambda: float | None = flag(
        None, "lambda of the critic's returns; default: --gae-lambda", minimum=0.0, maximum=1.0
    )
    whole_episodes: bool = flag(
        False,
        "let a segment go on until its episode ends, for twice --num-steps at most; with one "
        "environment a worker",
    )
    use_proper_time_limits: bool = flag(
        True, "treat episodes that a time limit cut as unfinished (bootstrap); with no-, as ended"
    )
    normalize_advantages: bool = flag(
        False, "give advantages mean 0 and standard deviation 1 over the batch of all workers"
    )
    entropy_coef: float = flag(0.01, "weight of the entropy bonus", minimum=0.0)
    entropy_scale: str = flag(
        "constant",
        "not for ppo; advantage: multiply --entropy-coef by the root mean square of the advantages",
        choices=("constant", "advantage"),
    )
    value_loss_coef: float = flag(
        0.5, "weight of the squared value error", aliases=("--value-coef",), minimum=0.0
    )
    bounds_loss_coef: float = flag(
        0.0, "Box actions: weight of the means' squared distance beyond the bounds", minimum=0.0
    )
    auxiliary_heads: str | None = flag(
        None, "module:function that returns auxiliary heads, see a3c/auxiliary.py"
    )
    auxiliary_loss_coef: float = flag(0.3, "weight of the losses of these heads", minimum=0.0)
    max_grad_norm: float = flag(
        0.5, "scale longer gradients down to this norm (acktr: cold updates only)", minimum=1e-9
    )
    loss_reduction: str = flag(
        "mean", "how a segment's losses are combined; ppo: always mean", choices=("mean", "sum")
    )
    clip_param: float = flag(
        0.2, "how far the ratio of probabilities may move from 1", minimum=0.0, group="ppo"
    )
    ppo_epoch: int = flag(2, "passes over a segment", minimum=1)
    num_mini_batch: int = flag(
        1, "minibatches in a pass; of whole sequences if the network is recurrent", minimum=1
    )
    use_clipped_value_loss: bool = flag(False, "clip the change of the values by --clip-param, too")
    target_kl: float | None = flag(
        None, "end the passes once the policy has moved this far, in nats", minimum=0.0
    )
    optimizer: str = flag(
        "adam",
        "rmsprop_tf has epsilon inside the root; kfac is acktr's",
        choices=("adam", "rmsprop", "rmsprop_tf", "kfac"),
        group="optimizer",
    )
    lr: float = flag(1e-4, "learning rate", aliases=("--learning-rate",), minimum=0.0)
    use_linear_lr_decay: bool = flag(
        False, "let the learning rate fall linearly to 0 at --num-env-steps"
    )
    eps: float = flag(1e-5, "epsilon of Adam or RMSprop", minimum=1e-12)
    alpha: float = flag(0.99, "decay of RMSprop's mean square", minimum=0.0, maximum=0.999999)
    betas: tuple[float, ...] = flag(
        (0.9, 0.999), "Adam's two decays", repeated=True, count=2, minimum=0.0, maximum=0.999999
    )
    amsgrad: bool = flag(False, "AMSGrad variant of Adam")
    momentum: float = flag(0.9, "momentum", minimum=0.0, maximum=0.999999, group="acktr")
    kl_clip: float = flag(
        0.001,
        "trust region: twice the divergence in nats of the policies before and after a step",
        minimum=0.0,
    )
    value_kl_clip: float | None = flag(
        None,
        "trust region of the critic's own layers; without it and --value-updates: the policy's",
        minimum=0.0,
    )
    value_updates: int = flag(
        0, "steps of the critic alone before each of the policy; 0: one step of both", minimum=0
    )
    value_lr: float | None = flag(
        None, "step size of the critic's steps alone; default: --lr", minimum=0.0
    )
    value_damping: float | None = flag(
        None, "--damping of the critic's own layers; default: the same", minimum=1e-12
    )
    value_stat_decay: float | None = flag(
        None, "--stat-decay of the critic's; default: the same", minimum=0.0, maximum=0.999999
    )
    value_cold_updates: int | None = flag(
        None, "--kfac-cold-updates of the critic's; default: the same", minimum=0
    )
    desired_kl: float | None = flag(
        None,
        "adapt the step size until a step moves the policy this far, in nats on its batch",
        minimum=1e-12,
    )
    damping: float = flag(
        0.01,
        "added to the curvature's eigenvalues; with cholesky, its root is shared by both factors",
        minimum=1e-12,
    )
    stat_decay: float = flag(
        0.99, "decay of the factors' running averages", minimum=0.0, maximum=0.999999
    )
    fisher_steps: int = flag(
        0,
        "steps of all workers' batch at which the curvature is sampled; 0: all, or --num-steps "
        "with --whole-episodes",
        minimum=0,
    )
    kfac_factor_interval: int = flag(
        1, "updates between two contributions to the factors", minimum=1
    )
    kfac_inverse_interval: int = flag(10, "updates between two inversions", minimum=1)
    kfac_cold_updates: int = flag(
        10, "plain updates at the start, while the first factors are averaged", minimum=0
    )
    kfac_inverse: str = flag(
        "cholesky",
        "how factors are inverted; eigh is exact in the damping, and slower",
        choices=("cholesky", "eigh"),
    )
    value_fisher_coef: float = flag(1.0, "weight of the values in the curvature", minimum=0.0)
    no_shared: bool = flag(
        False, "hogwild: give every worker optimizer statistics of its own", group="optimizer"
    )
    eval_interval: float = flag(
        60.0, "seconds between evaluations; 0: only one at the end", minimum=0.0, group="evaluation"
    )
    eval_episodes: int = flag(
        5, "episodes of an evaluation, with the same seeds each time", minimum=1
    )
    eval_sampled: bool = flag(
        False, "draw the actions in evaluations, not the most probable; games: unless switched off"
    )
    eval_nice: int | None = flag(
        None,
        "how much lower the test worker's priority is, 0 to 19; default: 5, or 0 if workers "
        "outnumber cores",
        minimum=0,
        maximum=19,
    )
    video_interval: int = flag(
        100, "film evaluation episode 1, one in so many, and the last policy; 0: none", minimum=0
    )
    log_dir: str = flag("runs", "folder of the run folders", group="records")
    run_dir: str | None = flag(
        None, "this run's folder; default: <log-dir>/<env>_<algo>_s<seed>_<time>"
    )
    resume: str | None = flag(None, "continue a run: its folder, or auto for the newest")
    load: str | None = flag(
        None,
        "begin a new run with another's policy: its folder (newest checkpoint) or a file such as "
        "best.pt; this includes its deviation, the scale of observations and, from a folder, of "
        "rewards",
    )
    save_dir: str = flag(
        "./trained_models/", "also keep the newest policy as <save-dir>/<algo>/<env>.pt; empty: no"
    )
    save_interval: int = flag(
        100, "each worker's segments between writes to --save-dir (at most one in 10 s)", minimum=1
    )
    log_interval: int = flag(
        10, "each worker's segments between rows of metrics (at most one a second)", minimum=1
    )
    checkpoint_interval: float = flag(120.0, "seconds between checkpoints", minimum=1.0)
    keep_checkpoints: int = flag(3, "how many checkpoints to keep", minimum=1)
    tensorboard: bool = flag(True, "write TensorBoard events if TensorBoard is installed")
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
