import pytest
import torch

from a3c.advantage_actor_critic import AdvantageActorCritic
from a3c.auxiliary import AuxiliaryHead
from a3c.heads import Categorical
from a3c.model import ActorCritic
from tests.a3c.segments import play, segment_of
from tests.a3c.test_advantage_actor_critic import losses, make_segment


def squared_error_of_the_first_input(outputs, segment):
    return (outputs.squeeze(-1) - segment.observations[..., 0]).square().mean()


def make_model(side: str, depth: int) -> ActorCritic:
    torch.manual_seed(0)
    head = AuxiliaryHead(
        name="first input", side=side, depth=depth, size=1, loss=squared_error_of_the_first_input
    )
    return ActorCritic(
        observation_shape=(4,),
        head=Categorical(3),
        num_layers=3,
        num_shared_layers=1,
        hidden_size=16,
        auxiliary_heads=[head],
    )


@pytest.mark.parametrize(
    ("side", "depth", "reached"),
    [
        ("shared", 0, set()),
        ("shared", -1, {"body.layers.0"}),
        ("shared", 1, {"body.layers.0"}),
        ("actor", 1, {"body.layers.0", "actor_body.layers.0"}),
        ("critic", 2, {"body.layers.0", "critic_body.layers.0", "critic_body.layers.1"}),
    ],
)
def test_a_head_shapes_the_layers_below_it_and_no_others(side, depth, reached):
    model = make_model(side, depth)
    observations, never = torch.randn(5, 2, 4), torch.zeros(5, 2, dtype=torch.bool)
    *_, recording = play(
        model, observations, torch.zeros(2, 0), never
    )  # what acting recorded takes gradients all the same
    segment = segment_of(observations, torch.zeros(2, 0), never, recording=recording)
    model.unroll(segment)
    names = [name for name, _ in model.named_parameters()]
    gradients = torch.autograd.grad(
        model.auxiliary_loss(segment), [*model.parameters()], materialize_grads=True
    )
    moved = {
        name.removesuffix(".weight")
        for name, gradient in zip(names, gradients, strict=True)
        if gradient.any()
    }
    assert {name for name in moved if not name.endswith("bias")} == reached | {
        "auxiliary.first input"
    }


def test_its_loss_falls_while_the_algorithm_learns():
    model = make_model("shared", -1)
    algorithm = AdvantageActorCritic(
        gamma=0.9, gae_lambda=1.0, entropy_coef=0.01, value_loss_coef=0.5, auxiliary_loss_coef=1.0
    )
    optimizer, seen = torch.optim.Adam(model.parameters(), lr=1e-2), []
    for _ in range(150):
        segment = make_segment(model, 10, 4)
        ((loss, _),) = losses(algorithm, model, segment)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(float(model.auxiliary_loss(segment).detach()))
    assert seen[-1] < 0.1 * seen[0]


def test_a_depth_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match=r"depth 3 of side 'actor'; .* from -1 .* to 2"):
        make_model("actor", 3)
    with pytest.raises(ValueError, match="sides are shared, actor, critic"):
        make_model("left", 0)
