"""Plain networks can be moved: on the device "meta" all is computed but the numbers."""

import pytest
import torch

from a3c.networks.actor_critic import AuxiliaryOutput
from a3c.networks.heads import Categorical, DiagonalGaussian, MultiCategorical
from tests.a3c.models import CORES, SHAPES, make_model

HEADS = {
    "categorical": lambda: Categorical(6),
    "several choices": lambda: MultiCategorical((3, 2)),
    "gaussian": lambda: DiagonalGaussian(
        3, initial_log_std=-0.5, state_dependent_std=False, bounds="clip"
    ),
    "gaussian by state": lambda: DiagonalGaussian(
        3, initial_log_std=-0.5, state_dependent_std=True, bounds="squash"
    ),
}
T, B = 5, 3


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("recurrent", CORES)
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_every_body_and_core_can_be_moved(name, recurrent, precision):
    output = AuxiliaryOutput(name="extra", side="shared", depth=-1, size=2)
    model = make_model(name, recurrent, precision=precision, auxiliary_outputs=[output]).to("meta")
    shape, dtype = SHAPES[name]
    observations = torch.empty(T, B, *shape, dtype=dtype, device="meta")
    starts, state = torch.empty(T, B, dtype=torch.bool, device="meta"), model.initial_state(B)
    size = {"none": 0, "lstm": 32, "gru": 16}[recurrent]
    assert state.is_meta and state.shape == (B, size)

    step = model.step(observations[0], state)
    assert all(tensor.is_meta for tensor in step)
    assert [tensor.shape for tensor in step] == [(B, 6), (B,), (B, size)]

    unrolled = model.unroll(observations, state, starts)
    tensors = [unrolled.policy, unrolled.values, unrolled.auxiliary["extra"]]
    assert [tensor.shape for tensor in tensors] == [(T, B, 6), (T, B), (T, B, 2)]
    loss = sum(tensor.sum() for tensor in tensors)
    for parameter, gradient in zip(
        model.parameters(), torch.autograd.grad(loss, [*model.parameters()]), strict=True
    ):
        assert gradient.is_meta and gradient.shape == parameter.shape


@pytest.mark.parametrize("name", HEADS)
def test_every_head_can_be_moved(name):
    head = HEADS[name]()
    model = make_model("mlp", "lstm", head=head).to("meta")
    observations = torch.empty(T, B, 5, device="meta")
    starts, state = torch.empty(T, B, dtype=torch.bool, device="meta"), model.initial_state(B)
    policy = model.unroll(observations, state, starts).policy
    assert policy.is_meta and policy.shape == (T, B, head.num_parameters)
    noise = head.noise((T, B), torch.Generator().manual_seed(0)).to("meta")  # drawn on the CPU
    for actions in (head.sample(policy, noise), head.mode(policy)):
        assert actions.is_meta and actions.shape == (T, B, *head.action_shape)
        assert actions.dtype == head.action_dtype
        assert head.to_environment(actions).shape == actions.shape
        for result in head.log_prob_and_entropy(policy, actions):
            assert result.is_meta and result.shape == (T, B)
    assert head.excess(policy).is_meta
