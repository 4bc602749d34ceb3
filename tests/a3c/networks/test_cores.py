import pytest
import torch

from a3c.networks.cores import CORES


@pytest.mark.parametrize("name", CORES)
def test_unroll_is_the_cell_step_by_step_and_so_is_its_gradient(name):
    torch.manual_seed(0)
    T, B, F, H = 6, 2, 5, 4
    core = CORES[name](F, H)
    assert core.output_size == H and core.state_size == (2 * H if name == "lstm" else H)
    features, starts = torch.randn(T, B, F, requires_grad=True), torch.rand(T, B) < 0.3
    first, weights = torch.randn(B, core.state_size), torch.randn(T, B, H)
    inputs = [features, *core.parameters()]

    outputs = core.unroll(features, first, starts)
    fast = torch.autograd.grad((outputs * weights).sum(), inputs)

    state, expected = first, []
    for x, start in zip(features, starts, strict=True):
        output, state = core.step(x, state * ~start.unsqueeze(-1))
        expected.append(output)
    torch.testing.assert_close(outputs, torch.stack(expected))
    slow = torch.autograd.grad((torch.stack(expected) * weights).sum(), inputs)
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-4)


def test_the_lstms_state_is_h_beside_c():
    torch.manual_seed(0)
    core = CORES["lstm"](3, 2)
    x, h, c = torch.randn(1, 3), torch.randn(1, 2), torch.randn(1, 2)
    output, state = core.step(x, torch.cat((h, c), -1))
    expected = core.cell(x, (h, c))
    torch.testing.assert_close(output, expected[0])
    torch.testing.assert_close(state, torch.cat(expected, -1))
