import pytest
import torch

from a3c.networks.actor_critic import ActorCritic
from a3c.networks.heads import Categorical
from workers.export import ExportError, export_policy


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)
def test_the_exported_step_is_the_models_for_any_batch(tmp_path):
    torch.manual_seed(0)
    model = ActorCritic(
        observation_shape=(1, 42, 42), head=Categorical(6), recurrent="lstm", hidden_size=16
    )
    model.observation_inverse_std.fill_(1 / 50)
    path = tmp_path / "policy.pt2"
    export_policy(model, torch.zeros(1, 1, 42, 42, dtype=torch.uint8), path)
    step = torch.export.load(path).module()
    for batch in (1, 5):
        observations = torch.randint(0, 255, (batch, 1, 42, 42), dtype=torch.uint8)
        state = torch.randn(batch, 32)
        with torch.no_grad():
            outputs = zip(model.step(observations, state), step(observations, state), strict=True)
            for mine, exported in outputs:
                torch.testing.assert_close(mine, exported)


def test_another_suffix_is_refused(tmp_path):
    model = ActorCritic(observation_shape=(3,), head=Categorical(2), hidden_size=4)
    with pytest.raises(ExportError, match=r"\.pt2 or \.onnx"):
        export_policy(model, torch.zeros(1, 3), tmp_path / "policy.json")
    assert [*tmp_path.iterdir()] == []
