import pytest
import torch

from a3c.fast.cores import record_core
from a3c.networks.cores import CORES


@pytest.mark.parametrize("name", CORES)
@pytest.mark.parametrize("B", [1, 2])
def test_unroll_and_its_gradients_are_the_plain_cores(name, B):
    torch.manual_seed(0)
    T, F, H = 6, 5, 4
    core = CORES[name](F, H)
    features, starts = torch.randn(T, B, F, requires_grad=True), torch.rand(T, B) < 0.3
    state, weights = torch.randn(B, core.state_size), torch.randn(T, B, H)
    fast = record_core(core, T)
    inputs = [features, *core.parameters()]

    expected = core.unroll(features, state, starts)
    found = fast.unroll(features, state, starts, replayed=False)
    torch.testing.assert_close(found, expected)
    slow = torch.autograd.grad((expected * weights).sum(), inputs)
    quick = torch.autograd.grad((found * weights).sum(), inputs)
    torch.testing.assert_close(quick, slow, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", CORES)
@pytest.mark.parametrize("B", [1, 2])
def test_a_bound_step_follows_its_features_and_its_state(name, B):
    torch.manual_seed(0)
    core, features = CORES[name](5, 4), torch.empty(B, 5)
    with torch.inference_mode():
        output, after, load, call = record_core(core, 1).bind(0, features)
        for _ in range(2):
            features.normal_()
            state = torch.randn(B, core.state_size)
            load(state)
            call()
            torch.testing.assert_close((output, after), core.step(features, state))
