"""Show that well-known A3C programs apply wrong gradients since torch 2.0, without any error.

    python examples/wrong_gradient.py        (needs nothing but torch)

Such a program has shared parameters, and a worker with a local copy of them. The worker computes
its gradient locally and makes it the shared one by `shared.grad = local.grad`. It does so only
where `shared.grad` is None. That used to happen once: from then on both were one tensor.

Since torch 2.0 `zero_grad()` no longer fills a gradient with zeros but sets it to None, and the
two part. What happens then depends on the side that the program clears:

- the shared side, as in pytorch-a3c (48d9584): the local gradient is never cleared, so the shared
  parameters receive the sum of all gradients so far (there, clipping bounds that sum);
- the local side, as in rl_a3c_pytorch (4170f7d) on CPUs: `backward()` makes a new local gradient,
  so the shared parameters keep the first one for ever.
"""

import torch

TRUE_GRADIENTS = [1.0, 2.0, 3.0, 4.0]


def received(cleared: str, **how: bool) -> list[float]:
    """Return the gradients that a shared parameter receives where TRUE_GRADIENTS are computed.

    `cleared`: the side that `zero_grad(**how)` clears before each update, "shared" or "local".
    """
    sides = {name: torch.nn.Linear(1, 1, bias=False) for name in ("shared", "local")}
    shared, local = sides["shared"].weight, sides["local"].weight
    gradients = []
    for slope in TRUE_GRADIENTS:
        sides[cleared].zero_grad(**how)
        loss = (slope * local).sum()  # its derivative by `local` is `slope`
        loss.backward()  # type: ignore[no-untyped-call]
        if shared.grad is None:
            shared.grad = local.grad
        assert shared.grad is not None
        gradients.append(shared.grad.item())  # what an optimizer of `shared` would apply
    return gradients


def main() -> None:
    """Print what is received under both meanings of `zero_grad`, beside the true gradients."""
    print(f"torch {torch.__version__}")
    print(f"{'true gradients':49} {TRUE_GRADIENTS}")
    for arguments, how in (("set_to_none=False", {"set_to_none": False}), ("", {})):
        for cleared in ("shared", "local"):
            gradients = received(cleared, **how)
            verdict = "right" if gradients == TRUE_GRADIENTS else "WRONG"
            call = f"{cleared}.zero_grad({arguments})"
            print(f"received with {call:35} {gradients}  {verdict}")


if __name__ == "__main__":
    main()
