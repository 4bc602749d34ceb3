"""Exported policies: a process that has only the file and PyTorch plays as enjoy.py does."""

import json
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from a3c.networks.actor_critic import ActorCritic
from a3c.networks.heads import Categorical
from envs.actions import action_maker, own_space, policy_space
from envs.make import make
from tests.workers.runs import flags
from workers.export import EnvironmentActions, ExportError, export_policy
from workers.play import play_episodes
from workers.snapshot import restore_policy
from workers.supervision.launch import prepare

TORCH_WARNS = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)
SPACES = [
    Box(0.2, 0.8, (3,), np.float32),
    Box(np.array([[-2.0, 0.1]]), np.array([[5.0, 0.1]]), dtype=np.float64),
    Box(-np.inf, np.inf, (2,), np.float32),
    Box(np.float32([-1.0, -np.inf]), np.float32([np.inf, 3.0])),
    Discrete(5, start=-2),
    MultiDiscrete(np.array([[3, 4], [2, 5]]), dtype=np.int32, start=np.array([[1, 0], [7, -3]])),
    MultiBinary((2, 3)),
]
# Somebody else's program: PyTorch, gymnasium and the file.
PLAYER = """
import json, sys
import gymnasium, numpy, torch

path, name, seed, arguments = sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
files = {"a3c.json": ""}
step = torch.export.load(path, extra_files=files).module()
about = json.loads(files["a3c.json"])
environment = gymnasium.make(name, **arguments)
assert about["actions"]["space"] == str(environment.action_space)
observation, _ = environment.reset(seed=seed)
state, actions, total, done = torch.zeros(1, *about["state"]["shape"]), [], 0.0, False
while not done:
    seen = numpy.asarray(observation, about["observations"]["type"]).reshape(1, -1)
    with torch.no_grad():
        _, _, state, action = step(torch.from_numpy(seen), state)
    action = action[0].numpy()
    assert environment.action_space.contains(action if action.ndim else action[()])
    observation, reward, terminated, truncated, _ = environment.step(action)
    actions.append(action.tolist())
    total, done = total + float(reward), terminated or truncated
print(json.dumps([total, actions, [name for name in sys.modules if name in ("a3c", "envs")]]))
"""


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_actions_are_those_of_the_one_place_that_makes_them(space):
    given = policy_space(space)
    given.seed(3)
    samples = np.stack([given.sample() for _ in range(200)])
    if isinstance(space, Box):
        samples[:100] *= 3
        samples = np.concatenate([samples, np.float32([[-1], [1]]) * np.ones_like(samples[0])])
    make_action = action_maker(space)
    expected = np.stack([make_action(sample) for sample in samples])
    exported = EnvironmentActions(space)(torch.from_numpy(samples)).numpy()
    assert exported.dtype == expected.dtype
    assert np.array_equal(exported, expected)


def export_and_play(name: str, folder: Path, *words: str, **arguments) -> None:
    """Export an untrained policy; play it by the file alone, and as enjoy.py does; compare."""
    torch.manual_seed(0)
    kwargs = [f"{key}={value}" for key, value in arguments.items()]
    line = ["--env-name", name, "--num-processes", "1", "--run-dir", str(folder / "run"), *words]
    run = prepare([*line, *(["--env-kwargs", *kwargs] if kwargs else [])])
    model, config, resolved = restore_policy(run.policy_state())
    run.close()
    # Actions near zero would hide that they must be scaled and clipped.
    with torch.no_grad():
        model.actor.weight *= 100
    environment = make(resolved, training=False, max_episode_length=config.max_episode_length)
    observation, _ = environment.reset(seed=5)
    path = folder / "policy.pt2"
    own = own_space(environment)
    example = torch.from_numpy(observation[None])
    export_policy(model, example, path, actions=own, environment=name)
    command = [sys.executable, "-W", "ignore", "-c", PLAYER, str(path), name, "5"]
    done = subprocess.run(
        [*command, json.dumps(arguments)], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    total, actions, ours = json.loads(done.stdout)
    assert ours == []
    given: list[np.ndarray] = []
    recorded = gym.wrappers.TransformAction(
        environment.unwrapped, lambda action: given.append(np.array(action)) or action, own
    )
    _put_innermost(environment, recorded)
    played = play_episodes(model, [environment], seeds=[5], sampled=False, steps=0)
    assert len(given) == len(actions)
    for mine, exported in zip(given, actions, strict=True):
        assert np.allclose(mine, exported, rtol=0, atol=1e-5)
    assert played is not None
    assert total == pytest.approx(played.returns[0], rel=1e-3, abs=1e-3)


def _put_innermost(environment: gym.Env, layer: gym.Wrapper) -> None:
    while environment.env is not environment.unwrapped:
        environment = environment.env
    environment.env = layer


@TORCH_WARNS
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Pendulum-v1", "--squash-actions"),
        ("Hopper-v4", "--recurrent lstm --max-episode-length 1000"),
    ],
)
def test_a_process_without_our_code_plays_the_same_actions(tmp_path, name, words):
    export_and_play(name, tmp_path, *flags(words))


@TORCH_WARNS
def test_the_exported_step_is_the_models_for_any_batch(tmp_path):
    torch.manual_seed(0)
    model = ActorCritic(
        observation_shape=(1, 42, 42), head=Categorical(6), recurrent="lstm", hidden_size=16
    )
    model.observation_inverse_std.fill_(1 / 50)
    path = tmp_path / "policy.pt2"
    blank = torch.zeros(1, 1, 42, 42, dtype=torch.uint8)
    export_policy(model, blank, path, actions=Discrete(6), environment="Game-v0")
    step = torch.export.load(path).module()
    for batch in (1, 5):
        observations = torch.randint(0, 255, (batch, 1, 42, 42), dtype=torch.uint8)
        state = torch.randn(batch, 32)
        with torch.no_grad():
            *exported, actions = step(observations, state)
            outputs = zip(model.step(observations, state), exported, strict=True)
            for mine, theirs in outputs:
                torch.testing.assert_close(mine, theirs)
        assert torch.equal(actions, exported[0].argmax(-1))


@TORCH_WARNS
def test_an_onnx_file_gives_the_same_numbers_and_describes_itself(tmp_path):
    onnx, runtime = (pytest.importorskip(name) for name in ("onnx", "onnxruntime"))
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    model = ActorCritic(observation_shape=(3,), head=Categorical(4), hidden_size=8)
    path = tmp_path / "policy.onnx"
    space = Discrete(4, start=2)
    export_policy(model, torch.zeros(1, 3), path, actions=space, environment="Mine-v0")
    observations = torch.randn(5, 3)
    session = runtime.InferenceSession(path)
    inputs = {"observations": observations.numpy(), "state": np.zeros((5, 0), np.float32)}
    policy, _, _, actions = session.run(
        None, {i.name: inputs[i.name] for i in session.get_inputs()}
    )
    with torch.no_grad():
        expected = model.step(observations, model.initial_state(5)).policy
    np.testing.assert_allclose(policy, expected.numpy(), rtol=0, atol=1e-6)
    assert (actions == expected.argmax(-1).numpy() + 2).all()
    described = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert json.loads(described["a3c.json"])["environment"] == "Mine-v0"


def test_another_suffix_or_place_is_refused(tmp_path):
    model = ActorCritic(observation_shape=(3,), head=Categorical(2), hidden_size=4)
    rest = {"actions": Discrete(2), "environment": "Game-v0"}
    with pytest.raises(ExportError, match=r"\.pt2 or \.onnx"):
        export_policy(model, torch.zeros(1, 3), tmp_path / "policy.json", **rest)
    with pytest.raises(ExportError, match="cannot be written"):
        export_policy(model, torch.zeros(1, 3), tmp_path / "nowhere" / "policy.pt2", **rest)
    assert [*tmp_path.iterdir()] == []
