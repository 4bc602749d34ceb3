import math

import pytest
import torch

from a3c.networks.heads import Categorical, DiagonalGaussian, MultiCategorical


def test_log_prob_and_entropy_equal_torch_distributions():
    logits, actions = torch.randn(4, 3, 6), torch.randint(0, 6, (4, 3))
    log_prob, entropy = Categorical(6).log_prob_and_entropy(logits, actions)
    reference = torch.distributions.Categorical(logits=logits)
    torch.testing.assert_close(log_prob, reference.log_prob(actions))
    torch.testing.assert_close(entropy, reference.entropy())


def test_samples_have_the_policys_frequencies():
    logits, head = torch.tensor([0.0, 1.0, -2.0]), Categorical(3)
    actions = head.sample(logits, head.noise((200_000,), torch.Generator().manual_seed(0)))
    frequencies = torch.bincount(actions, minlength=3) / len(actions)
    torch.testing.assert_close(frequencies, logits.softmax(-1), atol=0.005, rtol=0)


def test_mode_is_the_most_probable_action():
    assert Categorical(3).mode(torch.tensor([[0.0, 2.0, 1.0]])).tolist() == [1]


def test_several_choices_at_once_are_the_product_of_their_distributions():
    head, logits = MultiCategorical((3, 2, 4)), torch.randn(5, 2, 9)
    parts = [torch.distributions.Categorical(logits=part) for part in logits.split([3, 2, 4], -1)]
    actions = torch.stack([part.sample() for part in parts], -1)
    log_prob, entropy = head.log_prob_and_entropy(logits, actions)
    torch.testing.assert_close(
        log_prob, sum(part.log_prob(actions[..., i]) for i, part in enumerate(parts))
    )
    torch.testing.assert_close(entropy, sum(part.entropy() for part in parts))
    assert torch.equal(
        head.mode(logits), torch.stack([part.logits.argmax(-1) for part in parts], -1)
    )


def test_several_choices_are_drawn_with_their_own_frequencies():
    head, logits = MultiCategorical((3, 2)), torch.tensor([0.0, 1.0, -2.0, 0.5, -0.5])
    actions = head.sample(logits, head.noise((200_000,), torch.Generator().manual_seed(0)))
    assert actions.shape == (200_000, 2)
    joint = torch.zeros(3, 2).index_put_(tuple(actions.T), torch.ones(()), accumulate=True) / len(
        actions
    )
    expected = logits[:3].softmax(-1).unsqueeze(1) * logits[3:].softmax(-1)
    torch.testing.assert_close(joint, expected, atol=0.005, rtol=0)


def gaussian(
    num_actions: int, *, bounds: str | None = "clip", state_dependent_std: bool = False
) -> DiagonalGaussian:
    head = DiagonalGaussian(
        num_actions, initial_log_std=-0.5, state_dependent_std=state_dependent_std, bounds=bounds
    )
    if not state_dependent_std:
        with torch.no_grad():
            head.log_std.uniform_(-1.0, 0.5)
    return head.double()


def distribution(head: DiagonalGaussian, policy: torch.Tensor) -> torch.distributions.Normal:
    if head.state_dependent_std:
        mean, offset = policy.chunk(2, dim=-1)
        return torch.distributions.Normal(mean, (offset - 0.5).exp())
    return torch.distributions.Normal(policy, head.log_std.exp())


@pytest.mark.parametrize("num_actions", [1, 3, 17])
@pytest.mark.parametrize("state_dependent_std", [False, True])
@pytest.mark.parametrize("bounds", ["clip", "squash", None])
def test_a_gaussians_log_prob_and_entropy_equal_torch_distributions(
    num_actions, state_dependent_std, bounds
):
    head = gaussian(num_actions, bounds=bounds, state_dependent_std=state_dependent_std)
    policy = torch.randn(4, 3, head.num_parameters, dtype=torch.float64)
    actions = torch.randn(4, 3, num_actions, dtype=torch.float64)
    log_prob, entropy = head.log_prob_and_entropy(policy, actions)
    normal = distribution(head, policy)
    torch.testing.assert_close(entropy, normal.entropy().sum(-1))
    if bounds != "squash":
        torch.testing.assert_close(log_prob, normal.log_prob(actions).sum(-1))
        return
    squashed = torch.distributions.TransformedDistribution(
        normal, torch.distributions.TanhTransform()
    )
    torch.testing.assert_close(
        log_prob, squashed.log_prob(actions.tanh()).sum(-1), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("num_actions", [1, 3, 17])
@pytest.mark.parametrize("state_dependent_std", [False, True])
@pytest.mark.parametrize("bounds", ["clip", "squash"])
def test_gradients_of_a_gaussian_are_finite_differences(num_actions, state_dependent_std, bounds):
    head = gaussian(num_actions, bounds=bounds, state_dependent_std=state_dependent_std)
    policy = torch.randn(2, head.num_parameters, dtype=torch.float64, requires_grad=True)
    actions, parameters = torch.randn(2, num_actions, dtype=torch.float64), [*head.parameters()]

    def both(policy: torch.Tensor, *parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if parameters:
            head.__dict__["log_std"] = parameters[0]  # found before the parameter of that name
        return head.log_prob_and_entropy(policy, actions)

    assert torch.autograd.gradcheck(both, (policy, *parameters))


def test_a_gaussian_squashes_far_actions_without_overflow():
    head = DiagonalGaussian(1, initial_log_std=0.0, state_dependent_std=False, bounds="squash")
    log_prob, _ = head.log_prob_and_entropy(
        torch.tensor([[30.0], [-30.0]]), torch.tensor([[30.0], [-30.0]])
    )
    assert torch.isfinite(log_prob).all()


def test_samples_of_a_gaussian_have_its_moments():
    head = gaussian(2).float()
    policy = torch.tensor([0.3, -2.0])
    actions = head.sample(policy, head.noise((200_000,), torch.Generator().manual_seed(0)))
    torch.testing.assert_close(actions.mean(0), policy, atol=0.01, rtol=0)
    torch.testing.assert_close(actions.std(0), head.log_std.exp(), atol=0.01, rtol=0)
    torch.testing.assert_close(head.mode(policy), policy)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ("clip", [-1.0, 0.5, 1.0]),
        ("squash", [math.tanh(-2), math.tanh(0.5), 1.0]),
        (None, [-2.0, 0.5, 99.0]),
    ],
)
def test_what_the_environment_is_given(bounds, expected):
    actions = torch.tensor([-2.0, 0.5, 99.0])
    torch.testing.assert_close(
        gaussian(3, bounds=bounds).to_environment(actions), torch.tensor(expected)
    )
    assert actions.tolist() == [-2.0, 0.5, 99.0]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [("clip", [0.25 + 4.0, 0.0]), ("squash", [1.0, 0.0]), (None, [0.0, 0.0])],
)
@pytest.mark.parametrize("state_dependent_std", [False, True])
def test_means_beyond_the_bounds_are_an_excess(bounds, expected, state_dependent_std):
    head = DiagonalGaussian(
        2, initial_log_std=0.0, state_dependent_std=state_dependent_std, bounds=bounds
    )
    mean = torch.tensor([[1.5, -3.0], [1.0, -0.2]])
    policy = torch.cat([mean, torch.full((2, 2), 9.0)], dim=-1) if state_dependent_std else mean
    assert head.excess(policy).tolist() == expected


def test_discrete_policies_have_no_excess():
    assert Categorical(3).excess(torch.full((4, 3), 100.0)).sum() == 0
