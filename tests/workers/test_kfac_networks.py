"""ACKTR's step on whole networks, beside a slow transcription in double precision.

The transcription goes over every step of every environment.
"""

import copy
import dataclasses
import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

import a3c.acktr
from a3c.networks.actor_critic import ActorCritic
from a3c.segment import Segment
from shared_optim.contribution import Contribution
from shared_optim.flat import FlatParameters
from tests.workers.tasks import shared_memory
from workers.settings.config import Config
from workers.settings.exchanges import build_exchange
from workers.settings.flags import parse
from workers.settings.models import Spaces, blank_segment, build_model
from workers.settings.recipes import build_algorithm

T, B = 3, 2
ETA, DELTA, DAMPING = 0.25, 1e-4, 0.01
FRAME42, STACK42, STACK84 = (
    Spaces(shape, observation, num_actions=6)
    for shape, observation in (
        ((1, 42, 42), "frame42"),
        ((4, 42, 42), "stack42"),
        ((4, 84, 84), "stack84"),
    )
)


@dataclass(frozen=True)
class Applied:
    """What went through a linear map."""

    weight: nn.Parameter
    bias: nn.Parameter
    inputs: Tensor  # [M, inputs], of a convolution [M, inputs, locations]
    outputs: Tensor  # [M, rows], of a convolution [M, rows, locations]


class Transcription:
    """A network written out with PyTorch's own operations; keeps what went through each map."""

    def __init__(self, model: ActorCritic) -> None:
        self.model = model
        self.applied: list[Applied] = []

    def __call__(self, segment: Segment) -> tuple[Tensor, Tensor]:
        """Logits [T, B, A] and values [T, B]."""
        model = self.model
        x = segment.observations.flatten(0, 1).double() - model.observation_mean.double()
        x = x * model.observation_inverse_std.double()
        for layer in model.body.modules():
            if isinstance(layer, nn.Conv2d):
                x = self.convolution(layer, x)
            elif isinstance(layer, nn.Linear):
                x = self.linear(layer.weight, layer.bias, x.flatten(1)).relu()
        x = x.flatten(1)
        if model.core is not None:
            x = self.core(model.core.cell, x, segment)
        logits = self.linear(model.actor.weight, model.actor.bias, x)
        values = self.linear(model.critic.weight, model.critic.bias, x)
        return logits.view(T, B, -1), values.view(T, B)

    def linear(self, weight: nn.Parameter, bias: nn.Parameter, x: Tensor) -> Tensor:
        s = x @ weight.t() + bias
        self.applied.append(Applied(weight, bias, x, s))
        return s

    def convolution(self, layer: nn.Conv2d, x: Tensor) -> Tensor:
        height, width = (
            (size + 2 * layer.padding[0] - layer.kernel_size[0]) // layer.stride[0] + 1
            for size in x.shape[2:]
        )
        patches = nn.functional.unfold(
            x, layer.kernel_size, padding=layer.padding, stride=layer.stride
        )
        s = layer.weight.flatten(1) @ patches + layer.bias.unsqueeze(1)
        self.applied.append(Applied(layer.weight, layer.bias, patches, s))
        return s.relu().view(len(x), -1, height, width)

    def core(self, cell: nn.LSTMCell | nn.GRUCell, x: Tensor, segment: Segment) -> Tensor:
        step = self.lstm if isinstance(cell, nn.LSTMCell) else self.gru
        state, outputs = segment.state.double(), []
        for t, features in enumerate(x.view(T, B, -1)):
            state = torch.where(segment.starts[t].unsqueeze(1), 0.0, state)
            state = step(cell, features, state)
            outputs.append(state[:, : cell.hidden_size])
        return torch.cat(outputs)

    def lstm(self, cell: nn.LSTMCell, features: Tensor, state: Tensor) -> Tensor:
        h, c = state.chunk(2, 1)
        from_features = self.linear(cell.weight_ih, cell.bias_ih, features)
        from_h = self.linear(cell.weight_hh, cell.bias_hh, h)
        i, f, g, o = (from_features + from_h).chunk(4, 1)
        memory = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return torch.cat((o.sigmoid() * memory.tanh(), memory), 1)

    def gru(self, cell: nn.GRUCell, features: Tensor, h: Tensor) -> Tensor:
        r, z, n = self.linear(cell.weight_ih, cell.bias_ih, features).chunk(3, 1)
        r_h, z_h, n_h = self.linear(cell.weight_hh, cell.bias_hh, h).chunk(3, 1)
        z = (z + z_h).sigmoid()
        return (1 - z) * (n + (r + r_h).sigmoid() * n_h).tanh() + z * h


Factors = dict[nn.Parameter, tuple[nn.Parameter, Tensor, Tensor]]


def factors(applied: list[Applied], log_likelihood: Tensor) -> Factors:
    """Bias, A and G of each weight.

    They are summed one step of one environment after the other, at all of a convolution's
    locations.
    """
    found: Factors = {}
    for one in applied:
        (g,) = torch.autograd.grad(log_likelihood, one.outputs, retain_graph=True)
        x, g = (  # [cases, size, locations]
            part if part.dim() == 3 else part.unsqueeze(-1) for part in (one.inputs.detach(), g)
        )
        L = x.shape[2]
        _, A, G = found.get(one.weight, (one.bias, 0.0, 0.0))
        for case_x, case_g in zip(x, g, strict=True):
            a = torch.cat((case_x, torch.ones(1, L)))
            A, G = A + a @ a.t() / (T * B), G + case_g @ case_g.t() / (T * B * L)
        found[one.weight] = (one.bias, A, G)
    return found


def expected_directions(
    blocks: Factors, gradients: dict[nn.Parameter, Tensor]
) -> tuple[dict[nn.Parameter, Tensor], float]:
    """u = (A ⊗ G)⁻¹ ∇ of each parameter, with factored Tikhonov damping; and uᵀ∇."""
    directions, change = {}, 0.0
    for weight, (bias, A, G) in blocks.items():
        V = torch.cat((gradients[weight].flatten(1), gradients[bias].unsqueeze(1)), 1).double()
        mean_a, mean_g = (max(float(factor.trace()) / len(factor), 1e-10) for factor in (A, G))
        pi = math.sqrt(mean_a / mean_g)
        A = A + pi * math.sqrt(DAMPING) * torch.eye(len(A))
        G = G + math.sqrt(DAMPING) / pi * torch.eye(len(G))
        direction = torch.linalg.solve(G, torch.linalg.solve(A, V.t()).t())
        directions[weight] = direction[:, :-1].reshape(weight.shape)
        directions[bias] = direction[:, -1]
        change += float((direction * V).sum())
    return directions, change


def settings(recurrent: str) -> Config:
    words = ["--algo", "acktr", "--preset", "none", "--env-name", "Pong-v0"]
    words += ["--num-processes", "1", "--recurrent", recurrent, "--network", "narrow"]
    words += ["--hidden-size", "12", "--num-steps", str(T), "--envs-per-process", str(B)]
    words += ["--kfac-cold-updates", "0", "--momentum", "0", "--max-grad-norm", "1e9"]
    words += ["--kl-clip", str(DELTA), "--damping", str(DAMPING)]
    return parse(words).config


def some_segment(model: ActorCritic) -> Segment:
    segment = blank_segment(model, (T, B))
    observations = torch.randint(256, segment.observations.shape, dtype=torch.uint8)
    segment = dataclasses.replace(
        segment,
        observations=observations,
        state=torch.randn(segment.state.shape),
        starts=torch.rand(T, B) < 0.3,
    )
    segment.actions.copy_(torch.randint(6, (T, B)))
    return segment


def by_parameter(model: ActorCritic, vector: Tensor) -> list[Tensor]:
    """Pieces of a vector [P] that are shaped like the model's parameters."""
    shaped = copy.deepcopy(model)
    FlatParameters(shaped, vector=torch.empty(vector.shape)).vector.copy_(vector)
    return [parameter.detach() for parameter in shaped.parameters()]


@pytest.mark.parametrize(
    ("spaces", "recurrent", "scale"),
    [
        (FRAME42, "lstm", 1e-5),
        (FRAME42, "lstm", 1e-1),
        (FRAME42, "gru", 1e-1),
        (STACK42, "none", 1e-5),
        (STACK42, "none", 1e-1),
        (STACK84, "none", 1e-1),
    ],
)
def test_a_step_is_that_of_a_slow_transcription(spaces, recurrent, scale, monkeypatch):
    monkeypatch.setattr(a3c.acktr, "LOCATIONS", None)  # all of them
    torch.manual_seed(0)
    config = settings(recurrent)
    model = build_model(config, spaces)
    memory, parameters = shared_memory(config, spaces, num_workers=1), FlatParameters(model)
    memory.parameters.tensor.copy_(parameters.vector)
    exchange = build_exchange(
        config, memory, worker=0, beat=lambda: None, inversion_failed=pytest.fail
    )
    segment = some_segment(model)
    gradient = scale * torch.randn(parameters.vector.numel())

    precise = copy.deepcopy(model).double()
    transcription = Transcription(precise)
    logits, values = transcription(segment)
    torch.manual_seed(1)
    noise = torch.randn(T, B)  # of the values
    log_probs = logits.log_softmax(-1).gather(-1, segment.actions.unsqueeze(-1))
    blocks = factors(transcription.applied, log_probs.sum() + (values * noise).sum())
    pieces = by_parameter(model, gradient)
    gradients = dict(zip(precise.parameters(), pieces, strict=True))
    directions, change = expected_directions(blocks, gradients)
    nu = min(1.0, math.sqrt(DELTA / (ETA**2 * change)))
    assert (nu < 1) == (scale == 1e-1)

    before = copy.deepcopy(model)
    torch.manual_seed(1)
    algorithm = build_algorithm(config)
    exchange.push(
        Contribution(
            gradient=gradient,
            learning_rate=ETA,
            samples=lambda: algorithm.capture(model, segment).samples,
        )
    )
    exchange.pull(parameters.vector)
    assert len(directions) == len(list(model.parameters()))
    for old, new, parameter in zip(
        before.parameters(), model.parameters(), precise.parameters(), strict=True
    ):
        expected = -ETA * nu * directions[parameter]
        torch.testing.assert_close(
            (new - old).double(), expected, rtol=1e-2, atol=1e-3 * float(expected.abs().max())
        )
