"""What works for ACKTR. `results/` has what was measured with it."""

import math
from collections.abc import Mapping
from typing import Any

from envs.ids import ResolvedId
from workers.settings.config import Config
from workers.settings.presets.rows import Values, num_processes, row, share

ACKTR: Values = {"use_linear_lr_decay": True, "num_steps": 20}
# Games have the values of ACKTR's paper, except for what the curvature costs, see DESIGN.md.
#
# The authors' program halves the squared value error. The square whose likelihood it samples for
# the curvature is not halved. In the trust region, which policy and critic share, the critic then
# counts a sixteenth, and the policy moves.
GAME: Values = {
    **ACKTR,
    "fisher_steps": 64,
    "value_loss_coef": 0.25,
    "value_fisher_coef": 4.0,
}
# With the paper's lr 0.25, kl_clip 0.001 and gae_lambda 1 Breakout starts to learn later; results/
# has the comparison.
STACK: Values = {
    **GAME,
    "hidden_size": 512,
    "lr": 0.5,
    "kl_clip": 0.03,
    "gae_lambda": 0.95,
}
VECTOR: Values = {
    **ACKTR,
    "activation": "tanh",
    "hidden_size": 64,
    "gae_lambda": 0.97,
    "scale_rewards": True,
}
BODY: Values = {
    **VECTOR,
    "entropy_coef": 0.0,
    "normalize_advantages": True,
    "initial_log_std": -1.0,
    "bounds_loss_coef": 0.1,
    "kl_clip": 0.002,
    "value_kl_clip": 0.3,
}
# See A3C's. Longer segments mean fewer updates; a longer step makes up for that.
BIPED: Values = {
    **BODY,
    "num_steps": 100,
    "gamma": 0.995,
    "initial_log_std": 0.0,
    "kl_clip": 0.02,
}

ROWS: dict[str, Values] = {
    "frame42": {**GAME, "recurrent": "lstm", "hidden_size": 256},
    "stack42": STACK,
    "stack84": {**STACK, "network": "narrow"},
    "ram": VECTOR,
    "vector": VECTOR,
    "physics": BODY,
    "Hopper": BIPED,
    "Walker2d": BIPED,
    "Reacher": {**BODY, "gamma": 0.95},
    # Once the pendulum stands, only the few steps that recover from a bad start are worth learning
    # from. In a batch without such steps the advantages are noise. Normalised, this noise would be
    # as large as theirs, and would undo what they taught. There is no entropy bonus, because
    # ACKTR's standard deviation does not fall to 0.01 without one, as A3C's does.
    "InvertedDoublePendulum": {**BODY, "normalize_advantages": False},
}
# Environments of all workers together, by family.
ENVIRONMENTS = {"atari": 32, "control": 32, "physics": 16}

# As OpenAI's baselines had ACKTR for bodies in 2017; DESIGN.md has what is left out.
AUTHORS: Values = {
    "activation": "tanh",
    "hidden_size": 64,
    "initial_log_std": 0.0,
    "gae_lambda": 0.97,
    "value_gae_lambda": 1.0,
    "normalize_advantages": True,
    "entropy_coef": 0.0,
    "lr": 0.03,
    "desired_kl": 0.002,
    "kl_clip": 0.01,
    "max_grad_norm": 1e9,
    "kfac_inverse": "eigh",
    "kfac_inverse_interval": 2,
    "kfac_cold_updates": 1,
    "value_updates": 25,
    "value_lr": 1e-3,
    "value_kl_clip": 0.3,
    "value_damping": 0.1,
    "value_stat_decay": 0.95,
    "value_cold_updates": 50,
    # The loss is the whole square. The curvature is sampled from a whole square, too: its gradient
    # is twice the error, and the curvature, a squared gradient, is 4 times as large.
    "value_loss_coef": 1.0,
    "value_fisher_coef": 4.0,
}
AUTHORS_STEPS = 2500  # of all environments in a batch, at least
AUTHORS_EPISODE = 1000  # steps after which the time limit of most bodies ends an episode


def acktr(environment: ResolvedId, typed: Mapping[str, Any]) -> Values:
    """Return the values of ACKTR."""
    values = row(ROWS, environment)
    return values | {"envs_per_process": share(ENVIRONMENTS[environment.family], typed)}


def authors(typed: Mapping[str, Any]) -> Values:
    """Return the values of ACKTR's authors.

    Segments are whole episodes, where a worker has one environment, no recurrent core, and
    segments that are long enough to reach an episode's end.
    """
    B = typed.get("envs_per_process", Config.envs_per_process)
    per_worker = AUTHORS_STEPS / num_processes(typed) / B
    alone = B == 1 and typed.get("recurrent", "none") == "none"
    whole = alone and 2 * per_worker >= AUTHORS_EPISODE
    return AUTHORS | {"num_steps": math.ceil(per_worker), "whole_episodes": whole}
