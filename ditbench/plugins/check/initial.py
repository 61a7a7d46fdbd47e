"""How a strategy starts."""

from __future__ import annotations

from fnmatch import fnmatchcase

import torch

from ditbench.plugins.check.subject import BrokenPromiseError, Subject, inputs, tokens_of

DRAWS = "a rule draws from the generator that it is given"


def of_weights(subject: Subject) -> str:
    """Every parameter and buffer is set, equally for one seed, and every rule sets something."""
    names = [name for name, _ in subject.model().named_parameters()]
    for pattern, _rule in subject.strategy.initial:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise BrokenPromiseError(
                f"`initial` names '{pattern}', and no parameter is called so",
                f"parameters are called {', '.join(names[-3:])}, ...",
            )
    before = torch.random.get_rng_state()
    one, again = subject.model(seed=3).state_dict(), subject.model(seed=3).state_dict()
    for name, value in one.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise BrokenPromiseError(
                f"{name} is not set: models are built without weights, and filled afterwards",
                "a parameter is set by `initial`; make a constant in forward, not a buffer",
            )
        if not torch.equal(value, again[name]):
            raise BrokenPromiseError(f"{name} starts otherwise each time", DRAWS)
    if not torch.equal(torch.random.get_rng_state(), before):
        raise BrokenPromiseError("building a model draws from torch's global stream", DRAWS)
    return f"{len(names)} parameters start as stated, by the seed alone"


def of_tokens(subject: Subject) -> str:
    """`starts_as` says `identity` of a strategy that is one at the start, and of no other."""
    model = subject.model()
    with torch.no_grad():
        before, after, _ = tokens_of(model, *inputs())
    is_identity = torch.equal(before, after)
    said = subject.strategy.starts_as
    if is_identity != (said == "identity"):
        change = (after - before).abs().max().item()
        found = "tokens do not change" if is_identity else f"tokens change by up to {change:.2g}"
        raise BrokenPromiseError(
            f"at the start {found}, and starts_as says '{said}'",
            "starts_as = 'identity'" if is_identity else "starts_as = 'random', or start at zero",
        )
    return f"starts as {'the identity' if is_identity else f'it says, {said!r}'}"
