"""Export one step of a trained network as a program for other languages and devices."""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from a3c.networks.actor_critic import ActorCritic


class ExportError(Exception):
    """A policy that can't be exported this way; the message is one sentence with the fix."""


class PolicyStep(nn.Module):
    """(observations [B, ...], state [B, S]) -> (policy [B, A], values [B], next state [B, S]).

    B may be any number.
    """

    def __init__(self, model: ActorCritic) -> None:
        super().__init__()
        self.model = model

    def forward(self, observations: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take one step; the state at the start of an episode is zeros."""
        policy, values, state = self.model.step(observations, state)
        return policy, values, state  # torch.export saves plain tuples only


def export_policy(model: ActorCritic, observation: Tensor, path: Path) -> None:
    """Write `path`: .pt2 for torch.export.load, .onnx for ONNX. ExportError.

    `observation` [1, ...] is any one that the network takes.
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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own code
        program = torch.export.export(PolicyStep(model).eval(), arguments, dynamic_shapes=shapes)
        if path.suffix == ".pt2":
            torch.export.save(program, path)
        else:
            _export_onnx(program, path)


def _export_onnx(program: "torch.export.ExportedProgram", path: Path) -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ExportError(
            "ONNX needs two more packages: pip install onnx onnxscript, or export to .pt2."
        ) from error
    result = torch.onnx.export(
        program,
        input_names=["observations", "state"],
        output_names=["policy", "values", "next_state"],
        dynamo=True,
        verbose=False,
    )
    assert result is not None
    result.save(str(path))
