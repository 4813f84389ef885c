"""Greedy coordinate descent in plain torch: any penalty, on any device; the reference of the compiled kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from neurosparse.kernels import coordinate_descent as rules
from neurosparse.kernels.active_set import exact_reference
from neurosparse.kernels.coordinate_descent import DescentResult

__all__ = ["Rule", "descend_reference"]


class Rule(NamedTuple):
    """How levels move.

    Args:
        target: from membranes to levels.
        distance: from membranes, levels and the indices of their samples to the distance from the optimum.
        first: a typical threshold, to which the first limit is relative.
        threshold: of each atom, for exact steps; None: no exact steps.
        rank, relaxation: as in `Descent`.
    """

    target: Callable[[Tensor], Tensor]
    distance: Callable[[Tensor, Tensor, Tensor], Tensor]
    first: float
    threshold: Tensor | None
    rank: int
    relaxation: float


class _Run(NamedTuple):
    """The state of all samples; tensors are updated in place."""

    drive: Tensor
    weights: Tensor
    level: Tensor
    membrane: Tensor
    limit: Tensor
    least: Tensor
    events: Tensor
    evaluations: Tensor
    checks: Tensor
    support: list[list[int]]
    log: list[tuple[Tensor, Tensor, Tensor]]

    def send(self, samples: Tensor, atoms: Tensor, changes: Tensor) -> None:
        """One event of each of these samples."""
        self.level[samples, atoms] += changes
        self.membrane[samples] -= changes[:, None] * self.weights[atoms]
        self.events[samples] += 1
        self.log.append((samples, atoms, changes))
        for sample, atom in zip(samples.tolist(), atoms.tolist(), strict=True):
            if atom not in self.support[sample]:
                self.support[sample].append(atom)

    def refresh(self, samples: Tensor) -> None:
        """Membranes without the rounding of sums over many events."""
        self.membrane[samples] = self.drive[samples] - self.level[samples] @ self.weights


def descend_reference(
    drive: Tensor, level: Tensor, weights: Tensor, rule: Rule, tol: float, steps: int
) -> DescentResult:
    """Samples side by side, one event of each at a time; arguments as those of the kernel."""
    eps, zeros = torch.finfo(drive.dtype).eps, torch.zeros(4, len(drive), dtype=torch.int64, device=drive.device)
    least = rules.ROUNDING * eps * drive.abs().amax(1).clamp(min=rule.first)
    supports = [own.nonzero().flatten().tolist() for own in level]
    limit = torch.full_like(least, torch.inf)
    events, evaluations, checks, work = zeros.unbind()
    sums = drive - level @ weights
    run = _Run(drive, weights, level.clone(), sums, limit, least, events, evaluations, checks, supports, [])
    found, last, sent = limit.clone(), limit.clone(), torch.ones_like(events)
    fresh = torch.full_like(events, -1)
    active = torch.arange(len(drive), device=drive.device)
    while len(active):
        size = torch.tensor([len(run.support[i]) for i in active.tolist()], device=drive.device)
        stale = active[(fresh[active] < 0) | (run.events[active] - fresh[active] > rules.STALE * size)]
        stale = active if rules.fine(tol, drive) else stale
        run.refresh(stale)
        fresh[stale] = run.events[stale]
        found[active] = rule.distance(run.membrane[active], run.level[active], active).to(found)
        run.checks[active] += 1
        fits = run.events[active] + size <= steps
        exact = active[(found[active] > tol) & (run.events[active] > 0) & (size > 0) & fits]
        if rule.threshold is not None and len(exact):
            _exact(run, exact, rule.threshold, rule.rank)
            fresh[exact] = run.events[exact]
            found[exact] = rule.distance(run.membrane[exact], run.level[exact], exact).to(found)
            run.checks[exact] += 1
        still = (sent[active] == 0) | (fits & (found[active] > rules.LEAST * last[active]))
        done = (found[active] <= tol) | (run.events[active] >= steps) | ((run.limit[active] <= least[active]) & still)
        active = active[~done]
        last[active] = found[active]
        run.limit[active] = _lower(run, active).clamp(max=max(tol, rules.COARSE) * rule.first).maximum(least[active])
        sent[active] = _round(run, active, rule, steps)
    sample, atom, change = map(torch.cat, zip((events[:0], events[:0], drive[:0, 0]), *run.log, strict=True))
    order = sample.argsort(stable=True)
    return DescentResult(run.level, found, events, evaluations, checks, work, atom[order], change[order])


def _lower(run: _Run, samples: Tensor) -> Tensor:
    return (run.limit[samples] * rules.LOWER).maximum(run.least[samples])


def _round(run: _Run, samples: Tensor, rule: Rule, steps: int) -> Tensor:
    """Events until no change exceeds the limit; where none did from the start, the limit is lowered. Their numbers."""
    before = run.events.clone()
    room = (before + rules.ROUND * run.drive.shape[1]).clamp(max=steps)
    moving = samples
    while len(moving):
        change = rule.target(run.membrane[moving]) - run.level[moving]
        run.evaluations[moving] += run.drive.shape[1]
        size, atom = change.abs().max(1)
        small = size <= run.limit[moving]
        lower = small & (run.events[moving] == before[moving]) & (run.limit[moving] > run.least[moving])
        fires = ~small & (run.events[moving] < room[moving])
        run.limit[moving[lower]] = _lower(run, moving[lower])
        which, at = moving[fires], atom[fires]
        step, old = change[fires].gather(1, at[:, None])[:, 0], run.level[which, at]
        beyond = old + (1 + rule.relaxation) * step
        keeps = ((old + step) * old > 0) & ((old + step) * beyond > 0)
        run.send(which, at, torch.where(keeps, beyond - old, step))
        moving = moving[lower | fires]
    return (run.events - before)[samples]


def _exact(run: _Run, samples: Tensor, threshold: Tensor, rank: int) -> None:
    """An exact step of each of these samples; every level that it changes is one event."""
    run.refresh(samples)
    for i in samples.tolist():
        after = run.level[i].clone()
        support = exact_reference(run.membrane[i], after, run.weights, threshold, run.support[i], rank)
        change = after - run.level[i]
        moved = ((change != 0) & ((after == 0) | (change.abs() > run.least[i]))).nonzero().flatten()
        run.level[i, moved] = after[moved]
        run.events[i] += len(moved)
        run.log.append((torch.full_like(moved, i), moved, change[moved]))
        run.support[i] = support
    run.refresh(samples)
