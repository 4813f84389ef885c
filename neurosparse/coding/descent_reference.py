"""Greedy coordinate descent in plain torch: any penalty, on any device; the reference of the compiled kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from neurosparse.kernels import coordinate_descent as rules
from neurosparse.kernels.coordinate_descent import DescentResult
from neurosparse.kernels.working_set import restricted_reference

__all__ = ["Rule", "descend_reference"]


class Rule(NamedTuple):
    """How levels move.

    Args:
        target: from membranes to levels.
        distance: from membranes, levels and the indices of their samples to the distance from the optimum.
        first: a typical threshold, to which the first limit is relative.
        threshold: of each atom, for exact steps; None: no exact steps.
        lowest: membranes below it leave 0, where there is a threshold.
        rank, relaxation: as in `Descent`.
    """

    target: Callable[[Tensor], Tensor]
    distance: Callable[[Tensor, Tensor, Tensor], Tensor]
    first: float
    threshold: Tensor | None
    lowest: Tensor | None
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
    members: list[list[int]]
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
    run = _Run(drive, weights, level.clone(), sums, limit, least, events, evaluations, checks, supports, [], [])
    run.members.extend([] for _ in supports)
    active = torch.arange(len(drive), device=drive.device)
    inner, fresh = torch.full_like(least, tol * rules.INNER * rule.first), torch.zeros_like(events)
    last, found = limit.clone(), rule.distance(run.membrane, run.level, active).to(limit)
    distances = found.clone()
    checks += 1
    active = active[(found > tol) & (events < steps)]
    while len(active):
        sent = _round(run, active, rule, tol, steps)
        size = torch.tensor([len(run.support[i]) for i in active.tolist()], device=drive.device)
        stale = active[(run.events[active] - fresh[active] > rules.STALE * size) | rules.fine(tol, drive)]
        run.refresh(stale)
        fresh[stale] = run.events[stale]
        moved, fits = torch.zeros_like(sent), torch.full_like(sent, rule.threshold is None, dtype=torch.bool)
        if rule.threshold is not None:
            for place, i in enumerate(active.tolist()):
                before = int(run.events[i])
                fits[place] = _exact(run, i, rule, float(inner[i].maximum(least[i])), steps)
                moved[place] = int(run.events[i]) - before
            exact = active[fits]
            run.refresh(exact)
            fresh[exact] = run.events[exact]
            inner[exact] *= rules.LOWER
        found = rule.distance(run.membrane[active], run.level[active], active).to(found)
        run.checks[active] += 1
        still = (sent + moved == 0) | (fits & (found > rules.LEAST * last[active]))
        done = (run.limit[active] <= least[active]) & still
        last[active] = found
        distances[active] = found
        active = active[(found > tol) & (run.events[active] < steps) & ~done]
    sample, atom, change = map(torch.cat, zip((events[:0], events[:0], drive[:0, 0]), *run.log, strict=True))
    order = sample.argsort(stable=True)
    return DescentResult(run.level, distances, events, evaluations, checks, work, atom[order], change[order])


def _round(run: _Run, samples: Tensor, rule: Rule, tol: float, steps: int) -> Tensor:
    """Events of each sample until no change exceeds its next limit; their numbers.

    Where there are no exact steps, the limit is lowered until there is an event.
    """
    most = max(tol, rules.COARSE) * rule.first
    before = run.events.clone()
    room = (before + rules.ROUND * run.drive.shape[1]).clamp(max=steps)

    def lower(some: Tensor) -> None:
        share = rules.HALF if rule.threshold is None else rules.LOWER
        run.limit[some] = (run.limit[some] * share).clamp(max=most).maximum(run.least[some])

    lower(samples)
    moving = samples
    while len(moving):
        change = rule.target(run.membrane[moving]) - run.level[moving]
        run.evaluations[moving] += run.drive.shape[1]
        size, atom = change.abs().max(1)
        small = size <= run.limit[moving]
        again = small & (run.events[moving] == before[moving]) & (run.limit[moving] > run.least[moving])
        again &= rule.threshold is None
        fires = ~small & (run.events[moving] < room[moving])
        lower(moving[again])
        which, at = moving[fires], atom[fires]
        step, old = change[fires].gather(1, at[:, None])[:, 0], run.level[which, at]
        beyond = old + (1 + rule.relaxation) * step
        keeps = ((old + step) * old > 0) & ((old + step) * beyond > 0)
        run.send(which, at, torch.where(keeps, beyond - old, step))
        moving = moving[again | fires]
    return (run.events - before)[samples]


def _exact(run: _Run, i: int, rule: Rule, floor: float, steps: int) -> bool:
    """An exact step on the working set of a sample, if its events fit; every level that it changes is one event."""
    assert rule.threshold is not None and rule.lowest is not None
    limits, thresholds = (rule.first, floor, rule.relaxation), (rule.threshold, rule.lowest)
    after, members, support = restricted_reference(
        run.membrane[i], run.level[i], run.drive[i], run.weights, thresholds, run.members[i], run.support[i], limits,
        rule.rank,
    )  # fmt: skip
    run.members[i] = members
    if not 0 < len(members) <= steps - int(run.events[i]):
        return False
    change = after - run.level[i]
    at = torch.tensor(members, dtype=torch.int64, device=change.device)
    moved = at[(change[at] != 0) & ((after[at] == 0) | (change[at].abs() > run.least[i]))]
    run.level[i, moved] = after[moved]
    run.events[i] += len(moved)
    run.log.append((torch.full_like(moved, i), moved, change[moved]))
    run.support[i] = support
    return True
