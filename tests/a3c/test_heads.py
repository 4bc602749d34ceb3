import torch

from a3c.heads import Categorical


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
