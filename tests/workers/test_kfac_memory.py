"""What K-FAC is told of a network."""

import pytest
import torch

from shared_optim.flat import FlatParameters
from shared_optim.kfac import SharedKFAC
from tests.workers.tasks import CONTEXT, shared_memory
from workers.settings import exchanges
from workers.settings.exchanges import build_exchange, build_kfac_memory
from workers.settings.flags import parse
from workers.settings.models import Spaces, blank_segment, build_model
from workers.settings.recipes import build_algorithm


def describe(words: list[str], spaces: Spaces):
    config = parse(["--algo", "acktr", "--num-processes", "2", *words]).config
    model = build_model(config, spaces)
    memory = build_kfac_memory(config, model, context=CONTEXT)
    return model, FlatParameters(model), memory


def test_convolutions_have_locations_and_every_parameter_belongs_to_one_map():
    spaces = Spaces((4, 84, 84), "stack84", num_actions=6)
    _, parameters, memory = describe(
        ["--env-name", "PongNoFrameskip-v4", "--fisher-steps", "10"], spaces
    )
    assert [map_.locations for map_ in memory.maps] == [20**2, 9**2, 7**2, 1, 1, 1]
    assert [map_.columns for map_ in memory.maps] == [
        8 * 8 * 4 + 1,
        4 * 4 * 32 + 1,
        3 * 3 * 64 + 1,
        7 * 7 * 32 + 1,
        513,
        513,
    ]
    assert [map_.num_samples for map_ in memory.maps] == 3 * [5 * 8] + 3 * [5]
    assert {map_.group for map_ in memory.maps} == {0}
    covered = sorted(
        i for map_ in memory.maps for piece in map_.pieces for i in range(piece.start, piece.stop)
    )
    assert covered == [*range(parameters.vector.numel())]
    # 5 samples of 1,569 numbers are fewer than their products; 40 of 257 are, too, and so on.
    assert memory.contributions.tensor.shape == (
        2,
        sum(m.num_samples * m.columns + min(m.num_samples, m.rows) * m.rows for m in memory.maps),
    )


def test_actor_and_critic_have_trust_regions_of_their_own_and_the_deviation_belongs_to_the_actor():
    spaces = Spaces((17,), "vector", num_actions=6, continuous=True)
    model, parameters, memory = describe(["--env-name", "HalfCheetah-v4"], spaces)
    starts = {
        parameters.start(layer.weight): int(name.startswith("critic"))
        for name, layer in model.named_modules()
        if hasattr(layer, "weight")
    }
    assert {map_.weight: map_.group for map_ in memory.maps} == starts
    assert sorted(starts.values()) == [0, 0, 0, 1, 1, 1]
    (known,) = memory.known
    log_std = parameters.vector[known.piece].tolist()
    assert log_std == model.head.log_std.tolist() == pytest.approx(6 * [-1.0])


@pytest.mark.parametrize(("recurrent", "rows"), [("lstm", 4 * 256), ("gru", 3 * 256)])
def test_a_recurrent_cell_has_two_maps_seen_in_whole_sequences(recurrent, rows):
    spaces = Spaces((1, 42, 42), "frame42", num_actions=6)
    words = ["--env-name", "Pong-v0", "--recurrent", recurrent]
    words += ["--fisher-steps", "90", "--envs-per-process", "16"]
    _, _, memory = describe(words, spaces)
    assert [(map_.rows, map_.columns) for map_ in memory.maps if map_.rows == rows] == [
        (rows, 289),
        (rows, 257),
    ]
    assert memory.maps[-1].num_samples == 3 * 20


def test_other_optimizers_need_none():
    config = parse(["--env-name", "CartPole-v1", "--algo", "a2c"]).config
    model = build_model(config, Spaces((4,), "vector", num_actions=2))
    assert build_kfac_memory(config, model, context=CONTEXT) is None


def test_the_authors_settings_reach_the_algorithm_and_each_group(monkeypatch):
    words = ["--env-name", "HalfCheetah-v4", "--algo", "acktr", "--preset", "authors"]
    config = parse([*words, "--num-processes", "1"]).config
    assert build_algorithm(config).turns == 25 * ((1,),) + ((0,),)
    spaces = Spaces((17,), "vector", num_actions=6, continuous=True)
    model, memory = build_model(config, spaces), shared_memory(config, spaces, num_workers=1)
    given = {}

    class Watched(SharedKFAC):
        def __init__(self, parameters, statistics, **options) -> None:
            super().__init__(parameters, statistics, **options)
            given.update(options)

    monkeypatch.setattr(exchanges, "SharedKFAC", Watched)
    build_exchange(config, memory, worker=0, beat=lambda: None, inversion_failed=lambda: None)
    for num_steps in (2500, 3100):  # as many samples of every segment
        segment = blank_segment(model, (num_steps, 1))
        captured = build_algorithm(config).capture(model, segment)
        sizes = {len(a) for a, _ in captured.samples}
        assert sizes == {map_.num_samples for map_ in memory.kfac.maps} == {2500}
    policy, critic = given["settings"]
    assert (policy.kl_clip, policy.damping, policy.stat_decay, policy.cold_updates) == (
        0.01,
        0.01,
        0.99,
        1,
    )
    assert (critic.kl_clip, critic.damping, critic.stat_decay, critic.cold_updates) == (
        0.3,
        0.1,
        0.95,
        50,
    )


def test_an_unknown_parameter_is_named():
    config = parse(["--algo", "acktr", "--env-name", "CartPole-v1"]).config
    model = build_model(config, Spaces((4,), "vector", num_actions=2))
    model.register_parameter("temperature", torch.nn.Parameter(torch.ones(1)))
    with pytest.raises(ValueError, match="nothing is known of the curvature of temperature"):
        build_kfac_memory(config, model, context=CONTEXT)
