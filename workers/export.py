"""Export one step of a trained network as a program for other languages and devices.

It gives the environment's own actions. The file says so itself: what goes in, what comes out.
"""

import io
import json
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from torch import Tensor, nn

from a3c.networks.actor_critic import ActorCritic
from envs.actions import policy_space, scaling
from workers import __version__
from workers.records.atomic import replacing

DESCRIPTION = "a3c.json"  # the name of the description inside a .pt2, its key inside an .onnx
INPUTS = {
    "observations": "[B, ...], as the environment of the training showed them to the network",
    "state": "[B, S], zeros at the start of an episode, then the last next_state",
}
OUTPUTS = {
    "policy": "[B, ...], raw parameters of the distribution over actions",
    "values": "[B], expected returns",
    "next_state": "[B, S]",
    "actions": "[B, ...], the most probable actions, of the environment's own action space and "
    "type: clipped or squashed, scaled and counted from its start; env.step takes them as they are",
}


class ExportError(Exception):
    """A policy that can't be exported this way; the message is one sentence with the fix."""


class EnvironmentActions(nn.Module):
    """What a policy gives -> actions of the space `own`, as `envs.actions.action_maker` does."""

    box: Tensor  # [4, A], float64: middle, half, low, high
    start: Tensor  # [1] or [D], int64: the number of the first choice

    def __init__(self, own: gymnasium.Space[Any]) -> None:
        """ExportError if PyTorch has no such type of numbers."""
        super().__init__()
        assert isinstance(own, Box | Discrete | MultiDiscrete | MultiBinary)
        assert own.shape is not None
        self._shape = own.shape
        try:
            self._dtype = torch.from_numpy(np.zeros(0, own.dtype)).dtype
        except TypeError:
            raise ExportError(
                f"actions of {own.dtype} cannot be exported: let the environment take float32."
            ) from None
        self._is_box = isinstance(own, Box)
        if isinstance(own, Box):
            self.register_buffer("box", torch.from_numpy(np.stack(scaling(own)).astype(np.float64)))
        else:
            start = np.asarray(getattr(own, "start", 0)).reshape(-1)
            self.register_buffer("start", torch.from_numpy(start.astype(np.int64)))

    def forward(self, given: Tensor) -> Tensor:
        """Return actions [B, *shape] for `given` [B, ...], which are what the head gives."""
        given = given.reshape(given.shape[0], -1)
        if self._is_box:
            middle, half, low, high = self.box.unbind()
            own = torch.minimum(torch.maximum(given.double() * half + middle, low), high)
        else:
            own = given + self.start
        return own.to(self._dtype).reshape(given.shape[0], *self._shape)


class PolicyStep(nn.Module):
    """(observations [B, ...], state [B, S]) -> (policy, values, next state, actions); see OUTPUTS.

    B may be any number.
    """

    def __init__(self, model: ActorCritic, actions: gymnasium.Space[Any]) -> None:
        """`actions` is the environment's own space."""
        super().__init__()
        self.model, self.actions = model, EnvironmentActions(actions)

    def forward(self, observations: Tensor, state: Tensor) -> tuple[Tensor, ...]:
        """Take one step; the state at the start of an episode is zeros."""
        policy, values, state = self.model.step(observations, state)
        head = self.model.head
        actions = self.actions(head.to_environment(head.mode(policy)))
        return policy, values, state, actions  # torch.export saves plain tuples only


def export_policy(
    model: ActorCritic,
    observation: Tensor,
    path: Path,
    *,
    actions: gymnasium.Space[Any],
    environment: str,
) -> None:
    """Write `path`: .pt2 for torch.export.load, .onnx for ONNX. ExportError.

    `observation` [1, ...] is any one that the network takes, `actions` the environment's own space.
    """
    batch = observation.expand(2, *observation.shape[1:]).contiguous()
    arguments = (batch, model.initial_state(2))
    free = torch.export.Dim("batch", min=1)
    shapes = ({0: free}, {0: free})
    if path.suffix not in (".pt2", ".onnx"):
        raise ExportError(
            f"{path}: a policy can be exported as .pt2 or .onnx; "
            "give the file one of these suffixes."
        )
    step = PolicyStep(model, actions).eval()
    text = json.dumps(_description(batch, arguments[1], actions, environment), indent=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own code
        program = torch.export.export(step, arguments, dynamic_shapes=shapes)
        encode = _encode_pt2 if path.suffix == ".pt2" else _encode_onnx
        data = encode(program, text)
    try:
        with replacing(path) as file:
            file.write(data)
    except OSError as error:
        raise ExportError(
            f"{path} cannot be written ({error.strerror}): choose another folder."
        ) from error


def _description(
    observations: Tensor, state: Tensor, actions: gymnasium.Space[Any], environment: str
) -> dict[str, Any]:
    """Return what somebody must know who has nothing but the file."""
    return {
        "made by": f"a3c-trainer {__version__}",
        "environment": environment,
        "inputs": INPUTS,
        "outputs": OUTPUTS,
        "observations": {"shape": list(observations.shape[1:]), "type": _name(observations)},
        "state": {"shape": list(state.shape[1:]), "type": _name(state)},
        "actions": {"space": str(actions), "policy gives": str(policy_space(actions))},
    }


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _encode_pt2(program: "torch.export.ExportedProgram", description: str) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={DESCRIPTION: description})
    return buffer.getvalue()


def _encode_onnx(program: "torch.export.ExportedProgram", description: str) -> bytes:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ExportError(
            "ONNX needs two more packages: pip install onnx onnxscript, or export to .pt2."
        ) from error
    result = torch.onnx.export(
        program,
        input_names=[*INPUTS],
        output_names=[*OUTPUTS],
        dynamo=True,
        verbose=False,
    )
    assert result is not None
    result.model.metadata_props[DESCRIPTION] = description
    data: bytes = result.model_proto.SerializeToString()
    return data
