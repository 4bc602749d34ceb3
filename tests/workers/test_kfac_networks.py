"""ACKTR's step on whole networks against a transcription that goes over every step of every environment, in double precision."""

import copy
import math
import multiprocessing

import pytest
import torch
from torch import Tensor, nn

import a3c.acktr
from a3c.model import ActorCritic
from a3c.segment import Segment
from shared_optim.exchange import BarrierMemory
from shared_optim.flat import FlatParameters
from tests.a3c.segments import segment_of
from workers.settings.flags import parse
from workers.settings.recipes import (
    Spaces,
    build_algorithm,
    build_exchange,
    build_kfac_memory,
    build_model,
    optimizer_statistics_size,
)

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
Applied = tuple[
    nn.Parameter, nn.Parameter, Tensor, Tensor
]  # weight, bias, inputs [M, inputs] and outputs [M, rows] of a map


def transcribed(model: ActorCritic, segment: Segment) -> tuple[Tensor, Tensor, list[Applied]]:
    """Logits [T, B, A], values [T, B] and what went through each linear map, written out with PyTorch's own operations."""
    applied: list[Applied] = []

    def linear(weight: nn.Parameter, bias: nn.Parameter, x: Tensor) -> Tensor:
        s = x @ weight.t() + bias
        applied.append((weight, bias, x, s))
        return s

    x = segment.observations.flatten(0, 1).double() - model.observation_mean.double()
    x = x * model.observation_inverse_std.double()
    for layer in model.body.convolutions:
        height, width = (
            (size + 2 * layer.padding[0] - layer.kernel_size[0]) // layer.stride[0] + 1
            for size in x.shape[2:]
        )
        patches = nn.functional.unfold(
            x, layer.kernel_size, padding=layer.padding, stride=layer.stride
        )
        s = layer.weight.flatten(1) @ patches + layer.bias.unsqueeze(1)
        applied.append((layer.weight, layer.bias, patches, s))
        x = s.relu().view(len(x), -1, height, width)
    x = x.flatten(1)
    if getattr(model.body, "linear", None) is not None:
        x = linear(model.body.linear.weight, model.body.linear.bias, x).relu()
    if model.core is not None:
        cell, state, outputs = model.core.cell, segment.state.double(), []
        for t, features in enumerate(x.view(T, B, -1)):
            state = torch.where(segment.starts[t].unsqueeze(1), 0.0, state)
            h, *c = state.chunk(2, 1) if isinstance(cell, nn.LSTMCell) else (state,)
            from_features, from_h = (
                linear(cell.weight_ih, cell.bias_ih, features),
                linear(cell.weight_hh, cell.bias_hh, h),
            )
            if isinstance(cell, nn.LSTMCell):
                i, f, g, o = (from_features + from_h).chunk(4, 1)
                memory = f.sigmoid() * c[0] + i.sigmoid() * g.tanh()
                state = torch.cat((o.sigmoid() * memory.tanh(), memory), 1)
            else:
                (r, z, n), (r_h, z_h, n_h) = from_features.chunk(3, 1), from_h.chunk(3, 1)
                z = (z + z_h).sigmoid()
                state = (1 - z) * (n + (r + r_h).sigmoid() * n_h).tanh() + z * h
            outputs.append(state[:, : cell.hidden_size])
        x = torch.cat(outputs)
    logits, values = (
        linear(model.actor.weight, model.actor.bias, x),
        linear(model.critic.weight, model.critic.bias, x),
    )
    return logits.view(T, B, -1), values.view(T, B), applied


def factors(
    applied: list[Applied], log_likelihood: Tensor
) -> dict[nn.Parameter, tuple[nn.Parameter, Tensor, Tensor]]:
    """Bias, A and G of each weight, one step of one environment after the other, at all of a convolution's locations."""
    found: dict[nn.Parameter, tuple[nn.Parameter, Tensor, Tensor]] = {}
    for weight, bias, x, s in applied:
        (g,) = torch.autograd.grad(log_likelihood, s, retain_graph=True)
        x, g = (
            part if part.dim() == 3 else part.unsqueeze(-1) for part in (x.detach(), g)
        )  # [cases, size, locations]
        L = x.shape[2]
        _, A, G = found.get(weight, (bias, 0.0, 0.0))
        for case_x, case_g in zip(x, g, strict=True):
            a = torch.cat((case_x, torch.ones(1, L)))
            A, G = A + a @ a.t() / (T * B), G + case_g @ case_g.t() / (T * B * L)
        found[weight] = (bias, A, G)
    return found


@pytest.mark.parametrize("scale", [1e-5, 1e-1])
@pytest.mark.parametrize(
    ("spaces", "recurrent"),
    [(FRAME42, "lstm"), (FRAME42, "gru"), (STACK42, "none"), (STACK84, "none")],
)
def test_a_step_is_that_of_a_slow_transcription(spaces, recurrent, scale, monkeypatch):
    monkeypatch.setattr(a3c.acktr, "LOCATIONS", None)  # all of them
    torch.manual_seed(0)
    words = [
        "--algo",
        "acktr",
        "--preset",
        "none",
        "--env-name",
        "Pong-v0",
        "--num-processes",
        "1",
        "--recurrent",
        recurrent,
    ]
    words += [
        "--network",
        "narrow",
        "--hidden-size",
        "12",
        "--num-steps",
        str(T),
        "--envs-per-process",
        str(B),
    ]
    words += [
        "--kfac-cold-updates",
        "0",
        "--momentum",
        "0",
        "--kl-clip",
        str(DELTA),
        "--damping",
        str(DAMPING),
    ]
    config = parse(words).config
    model = build_model(config, spaces)
    memory, parameters = (
        build_kfac_memory(config, model, context=multiprocessing.get_context("spawn")),
        FlatParameters(model),
    )
    P = parameters.vector.numel()
    exchange = build_exchange(
        config,
        parameters=parameters.vector,
        statistics=torch.zeros(optimizer_statistics_size(config, P, memory)),
        barrier=BarrierMemory.create(1, P, context=multiprocessing.get_context("spawn")),
        kfac=memory,
        worker=0,
        beat=lambda: None,
        inversion_failed=pytest.fail,
    )
    observations = torch.randint(256, (T, B, *spaces.observation_shape), dtype=torch.uint8)
    starts = torch.rand(T, B) < 0.3
    segment = segment_of(observations, torch.randn(B, model.initial_state(B).shape[1]), starts)
    segment.actions.copy_(torch.randint(6, (T, B)))
    gradient = scale * torch.randn(P)

    precise = copy.deepcopy(model).double()
    logits, values, applied = transcribed(precise, segment)
    torch.manual_seed(1)
    noise = torch.randn(T, B)  # of the values
    log_probs = logits.log_softmax(-1).gather(-1, segment.actions.unsqueeze(-1))
    blocks = factors(applied, log_probs.sum() + (values * noise).sum())
    by_parameter = copy.deepcopy(model)
    FlatParameters(by_parameter, vector=torch.empty(P)).vector.copy_(gradient)
    by_parameter = by_parameter.requires_grad_(False)
    gradients = dict(zip(precise.parameters(), by_parameter.parameters(), strict=True))
    directions, change = {}, 0.0
    for weight, (bias, A, G) in blocks.items():
        V = torch.cat((gradients[weight].flatten(1), gradients[bias].unsqueeze(1)), 1).double()
        mean_a, mean_g = (max(float(factor.trace()) / len(factor), 1e-10) for factor in (A, G))
        pi = math.sqrt(mean_a / mean_g)
        A, G = (
            A + pi * math.sqrt(DAMPING) * torch.eye(len(A)),
            G + math.sqrt(DAMPING) / pi * torch.eye(len(G)),
        )
        direction = torch.linalg.solve(G, torch.linalg.solve(A, V.t()).t())
        directions[weight], directions[bias] = (
            direction[:, :-1].reshape(weight.shape),
            direction[:, -1],
        )
        change += float((direction * V).sum())
    nu = min(1.0, math.sqrt(DELTA / (ETA**2 * change)))
    assert (nu < 1) == (scale == 1e-1)

    before = copy.deepcopy(model)
    torch.manual_seed(1)
    samples = build_algorithm(config).capture(model, segment).samples
    exchange.push(gradient, learning_rate=ETA, max_norm=1e9, samples=samples)
    assert len(directions) == len(list(model.parameters()))
    for old, new, parameter in zip(
        before.parameters(), model.parameters(), precise.parameters(), strict=True
    ):
        expected = -ETA * nu * directions[parameter]
        torch.testing.assert_close(
            (new - old).double(), expected, rtol=1e-2, atol=1e-3 * float(expected.abs().max())
        )
