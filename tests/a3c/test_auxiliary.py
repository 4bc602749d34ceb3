import pytest
import torch

from a3c.advantage_actor_critic import AdvantageActorCritic
from a3c.auxiliary import AuxiliaryHead, auxiliary_loss
from a3c.networks.actor_critic import ActorCritic
from a3c.networks.heads import Categorical
from tests.a3c.models import act, make_fast
from tests.a3c.segments import losses, make_segment, seen


def squared_error_of_the_first_input(outputs, segment):
    return (outputs.squeeze(-1) - segment.observations[..., 0]).square().mean()


def make_head(side: str = "shared", depth: int = -1, name: str = "first input") -> AuxiliaryHead:
    loss = squared_error_of_the_first_input
    return AuxiliaryHead(name=name, side=side, depth=depth, size=1, loss=loss)


def make_model(*heads: AuxiliaryHead) -> ActorCritic:
    torch.manual_seed(0)
    return ActorCritic(
        observation_shape=(4,),
        head=Categorical(3),
        num_layers=3,
        num_shared_layers=1,
        hidden_size=16,
        auxiliary_outputs=heads,
    )


@pytest.mark.parametrize(
    ("side", "depth", "reached"),
    [
        ("shared", 0, set()),
        ("shared", -1, {"body.layers.0.0"}),
        ("shared", 1, {"body.layers.0.0"}),
        ("actor", 1, {"body.layers.0.0", "actor_body.layers.0.0"}),
        ("critic", 2, {"body.layers.0.0", "critic_body.layers.0.0", "critic_body.layers.1.0"}),
    ],
)
@pytest.mark.parametrize("fast", [False, True])
def test_a_head_shapes_the_layers_below_it_and_no_others(side, depth, reached, fast):
    head = make_head(side, depth)
    model = make_model(head)
    observations, never = torch.randn(5, 2, 4), torch.zeros(5, 2, dtype=torch.bool)
    state, network = torch.zeros(2, 0), model
    if fast:  # what acting recorded takes gradients all the same
        network = make_fast(model, observations)
        act(network, observations, state, never)
    outputs = network.unroll(observations, state, never).auxiliary
    loss = auxiliary_loss([head], outputs, seen(observations, state, never))
    names = [name for name, _ in model.named_parameters()]
    gradients = torch.autograd.grad(loss, [*model.parameters()], materialize_grads=True)
    moved = {
        name.removesuffix(".weight")
        for name, gradient in zip(names, gradients, strict=True)
        if gradient.any()
    }
    assert {name for name in moved if not name.endswith("bias")} == reached | {
        "auxiliary.first input"
    }


def test_its_loss_falls_while_the_algorithm_learns():
    head = make_head()
    model = make_model(head)
    algorithm = AdvantageActorCritic(
        gamma=0.9,
        gae_lambda=1.0,
        entropy_coef=0.01,
        value_loss_coef=0.5,
        auxiliary_heads=(head,),
        auxiliary_loss_coef=1.0,
    )
    optimizer, found = torch.optim.Adam(model.parameters(), lr=1e-2), []
    for _ in range(150):
        segment = make_segment(model, 10, 4)
        ((loss, _),) = losses(algorithm, model, segment)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        unrolled = model.unroll(segment.observations, segment.state, segment.starts)
        found.append(float(auxiliary_loss([head], unrolled.auxiliary, segment).detach()))
    assert found[-1] < 0.1 * found[0]


@pytest.mark.parametrize("coef", [0.0, 0.7])
def test_the_losses_of_all_heads_are_added_times_their_coefficient(coef):
    heads = (make_head(), make_head("critic", 1, "the same again"))
    model = make_model(*heads)
    segment = make_segment(model, 5, 2)
    settings = {"gamma": 0.9, "gae_lambda": 1.0, "entropy_coef": 0.01, "value_loss_coef": 0.5}
    with_heads = AdvantageActorCritic(**settings, auxiliary_heads=heads, auxiliary_loss_coef=coef)
    ((loss, _),) = losses(with_heads, model, segment)
    ((without, _),) = losses(AdvantageActorCritic(**settings), model, segment)
    outputs = model.unroll(segment.observations, segment.state, segment.starts).auxiliary
    expected = sum(squared_error_of_the_first_input(outputs[head.name], segment) for head in heads)
    torch.testing.assert_close(loss - without, coef * expected)


def test_a_depth_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match=r"depth 3 of side 'actor'; .* from -1 .* to 2"):
        make_model(make_head("actor", 3))
    with pytest.raises(ValueError, match="sides are shared, actor, critic"):
        make_model(make_head("left", 0))
