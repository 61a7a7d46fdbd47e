"""Training written out again as a plain loop, for what the trainer is compared with."""

import copy
import math

import torch

from ditbench.runs.planning.plan import build_trainer
from ditbench.training.ema import warmed_up


def train_plainly(plan, steps, skip=(), clip=math.inf):
    """Some steps, of which those in `skip`, counted from 1, are everything but their update.

    Returns the model, its average, the losses, and the norms of the gradients before clipping.
    """
    twin = build_trainer(plan)
    model, average = twin.model, copy.deepcopy(twin.model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=0.0, fused=True)
    losses, norms = [], []
    for step in range(steps):
        x, y = twin.batches.batch(step)
        y = torch.where(torch.rand(y.shape, generator=twin.dropout) < 0.1, 10, y)
        loss = plan.objective.loss_at(model, x, y, *plan.objective.draw(x, twin.noise))
        loss.backward()
        losses.append(loss.item())
        if clip < math.inf:
            norms.append(torch.nn.utils.clip_grad_norm_(twin.parameters, clip).item())
        else:
            gradients = [weight.grad.flatten().double() for weight in model.parameters()]
            norms.append(torch.cat(gradients).norm().item())
        if step + 1 not in skip:
            for group in optimizer.param_groups:
                group["lr"] = plan.config.train.lr * plan.budget.ramp(step)
            optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            share = 1 - warmed_up(plan.config.train.ema_decay, step)
            torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), share)
    return model, average, losses, norms
