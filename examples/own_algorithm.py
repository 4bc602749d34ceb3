"""An algorithm of one's own: A2C whose critic learns by the absolute error (L1) of its values.

    python examples/own_algorithm.py

is short for

    python main.py --algo examples.own_algorithm:A2C_L1 --env-name CartPole-v1 --num-processes 2 \
        --envs-per-process 4 --num-env-steps 2e5 --stop-reward 475 --video-interval 0

and takes further flags of main.py. The best return is 500, and random actions get about 20.
Training ends after some 15 seconds, when the last 100 episodes have a mean return of 475.

An algorithm makes batches of a segment, gives the loss of each batch, and may end a segment before
its last batch. Its row names its class, and the defaults of its flags: those of A2C here. Workers,
optimizers, exchanges and records stay as they are. For a file `mine.py` of your own, in any folder,
start main.py in that folder with `--algo mine:NAME`.
"""

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

if __name__ == "__main__":  # as a program it only starts main.py, which then imports it by name
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from main import main

    flags = (
        "--algo examples.own_algorithm:A2C_L1 --env-name CartPole-v1 --num-processes 2 "
        "--envs-per-process 4 --num-env-steps 2e5 --stop-reward 475 --video-interval 0"
    )
    sys.argv[1:1] = flags.split()
    sys.exit(main())

from torch import Tensor

from a3c.algorithm import ActorCriticLoss, Batch, Statistics
from a3c.networks.actor_critic import Network
from a3c.returns import Average, alone
from a3c.segment import Segment
from workers.settings.algorithms import RECIPES


@dataclasses.dataclass(frozen=True, kw_only=True)
class L1ActorCritic(ActorCriticLoss):
    """-log π(a|s) A + c_v |R - V(s)| - β H(π(·|s)) and so on, averaged over a segment's steps."""

    def batches(self, segment: Segment, average: Average = alone) -> Iterator[Batch]:
        """Yield the whole segment, once."""
        advantages, returns = self.targets(segment, average)
        yield Batch(steps=segment, advantages=advantages, returns=returns, weight=segment.weight)

    def loss(self, network: Network, batch: Batch) -> tuple[Tensor, Statistics]:
        """Return the segment's loss, and what it is made of."""
        steps = batch.steps
        unrolled = network.unroll(steps.observations, steps.state, steps.starts)
        log_probs, entropies = network.head.log_prob_and_entropy(unrolled.policy, steps.actions)
        errors = batch.returns - unrolled.values
        # `total` adds the terms up, and lists what the loss is made of.
        loss, statistics = self.total(
            network,
            batch,
            unrolled=unrolled,
            policy_loss=-(log_probs * batch.advantages).mean(),
            value_loss=errors.abs().mean(),
            entropies=entropies,
        )
        # The explained variance is computed from square errors.
        return loss, statistics | {"square_error": errors.detach().square().mean()}

    def ends(self, statistics: Mapping[str, float], average: Average = alone) -> bool:
        """Return False: there is one batch."""
        return False


A2C_L1 = dataclasses.replace(RECIPES["a2c"], algorithm="examples.own_algorithm:L1ActorCritic")
