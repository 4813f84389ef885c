"""Least-squares fit of Gabor functions to many images at once: starts from a coarse bank, Levenberg-Marquardt.

Six parameters are searched, ``(atoms, 6)``: row, column, log sigma_x, log sigma_y, theta, log frequency. The two
others, the amplitudes of cosine and sine, are linear and eliminated (variable projection: Golub & Pereyra 1973, with
the Jacobian of Kaufman 1975).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["best_fits", "limits", "waves"]

ORIENTATIONS, KEPT = 8, 4  # of the bank; starts come from the best KEPT of them
CYCLES = (0.35, 0.7)  # sigma x frequency of the bank's round envelopes
LENGTHS = (1.0, 2.5)  # sigma_y / sigma_x of the starts
TRIAL, FINALISTS, STEPS = 8, 3, 100  # TRIAL steps from all starts, then the best of each atom until convergence
NARROWEST = 0.5  # pixels; a narrower envelope holds a single pixel
RIDGE = 1e-12
FLAT = 1e-9  # two steps in a row with a smaller relative decrease of the residual end the search


def limits(shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Least and largest parameters: a centre inside, sigmas from half a pixel to the longer side, frequencies from a
    quarter of a cycle along that side to Nyquist's half a cycle per pixel."""
    side = max(shape)
    widths, frequencies = (math.log(NARROWEST), math.log(side)), (math.log(0.25 / side), math.log(0.5))
    pairs = [(0, shape[0] - 1), (0, shape[1] - 1), widths, widths, (-math.inf, math.inf), frequencies]
    low, high = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    return low, high


def waves(p: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Places along and across the wave ``(n, pixels)``, and Gabor functions ``(n, 2, pixels)`` of cosine and sine."""
    height, width = (torch.arange(n, dtype=p.dtype, device=p.device) for n in shape)
    row, column, log_x, log_y, theta, log_f = p.T[:, :, None]
    right = width.repeat(shape[0]) - column
    up = row - height.repeat_interleave(shape[1])
    along, across = right * theta.cos() + up * theta.sin(), up * theta.cos() - right * theta.sin()
    envelope = torch.exp(-0.5 * ((along / log_x.exp()) ** 2 + (across / log_y.exp()) ** 2))
    cycles = 2 * math.pi * log_f.exp() * along
    return along, across, torch.stack([envelope * cycles.cos(), envelope * cycles.sin()], 1)


def evaluate(p: Tensor, target: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Squared residual, Gauss-Newton matrix, gradient and the two amplitudes, best for these parameters."""
    along, across, basis = waves(p, shape)
    _, _, log_x, log_y, theta, log_f = p.T[:, :, None]
    gram = basis @ basis.mT
    # At Nyquist's frequency the sine can be 0 on every pixel: then its amplitude is held at 0.
    gram = gram + RIDGE * torch.diag_embed(gram.diagonal(dim1=1, dim2=2).sum(1, keepdim=True).expand(-1, 2))
    amplitude = torch.linalg.solve(gram, basis @ target[:, :, None])[:, :, 0]
    model = (amplitude[:, None] @ basis)[:, 0]
    shifted = amplitude[:, 1:] * basis[:, 0] - amplitude[:, :1] * basis[:, 1]  # a quarter of a cycle on
    per_x, per_y, k = (-2 * log_x).exp(), (-2 * log_y).exp(), 2 * math.pi * log_f.exp()
    d_along, d_across = k * shifted - model * along * per_x, -model * across * per_y
    jacobian = torch.stack(
        [
            d_along * theta.sin() + d_across * theta.cos(),
            d_across * theta.sin() - d_along * theta.cos(),
            model * along**2 * per_x,
            model * across**2 * per_y,
            d_along * across - d_across * along,
            k * along * shifted,
        ],
        1,
    )
    wrong = model - target
    # Project out what the amplitudes can compensate.
    mixed = basis @ jacobian.mT
    normal = jacobian @ jacobian.mT - mixed.mT @ torch.linalg.solve(gram, mixed)
    return wrong.square().sum(1), normal, (jacobian @ wrong[:, :, None])[:, :, 0], amplitude


def descend(p: Tensor, target: Tensor, shape: tuple[int, int], steps: int) -> tuple[Tensor, Tensor]:
    """Levenberg-Marquardt within the limits, every row by itself; converged rows leave the batch."""
    low, high = (limit.to(p.device) for limit in limits(shape))
    p = p.clamp(low, high)
    cost, normal, gradient, _ = evaluate(p, target, shape)
    damping, flat = torch.full_like(cost, 1e-2), torch.zeros_like(cost)
    going = torch.arange(len(p), device=p.device)
    for _ in range(steps):
        if not len(going):
            break
        now, slope, before = p[going], gradient[going], cost[going]
        free = ~((now <= low) & (slope > 0) | (now >= high) & (slope < 0))  # the others are held at their limit
        matrix = normal[going] * free[:, :, None] * free[:, None]
        scale = matrix.diagonal(dim1=1, dim2=2)
        scale = torch.where(free, scale.clamp(min=1e-12), 1.0)
        matrix = matrix + torch.diag_embed(scale * torch.where(free, damping[going, None], 1.0))
        trial = (now - torch.linalg.solve(matrix, slope * free)).clamp(low, high)
        after, new_normal, new_gradient, _ = evaluate(trial, target[going], shape)
        better = after < before
        won = going[better]
        p[won], cost[won], normal[won], gradient[won] = (
            part[better] for part in (trial, after, new_normal, new_gradient)
        )
        damping[going] *= torch.where(better, 0.2, 4.0)
        level = before - after < FLAT * before
        flat[going] = torch.where(better & level, flat[going] + 1, torch.where(better, 0.0, flat[going]))
        exact = cost[going] < 1e-24  # of atoms of unit energy
        going = going[~((flat[going] >= 2) | (damping[going] > 1e8) | exact)]
    return p, cost


def coarse(atoms: Tensor, shape: tuple[int, int]) -> Tensor:
    """The best few of a bank of Gabor functions with round envelopes ``(atoms, starts, 6)``, one per orientation.

    A round envelope makes the complex Gabor function ``k`` a product of one for rows and one for columns. The energy
    that its real and imaginary part explain together is ``2 (S |z|^2 - Re(conj(Q) z^2)) / (S^2 - |Q|^2)`` with
    ``z = sum a k``, ``S = sum |k|^2``, ``Q = sum k^2``; which includes the cut at the border of the image.
    """
    n, side = len(atoms), max(shape)
    images = atoms.view(n, *shape).to(torch.complex128)
    best = atoms.new_full((ORIENTATIONS, n), -1.0)
    start = atoms.new_zeros(ORIENTATIONS, n, 6)
    frequencies = [0.5 / 1.2 / 2 ** (i / 2) for i in range(64) if 0.5 / 1.2 / 2 ** (i / 2) > 0.6 / side]
    for turn in range(ORIENTATIONS):
        theta = turn * math.pi / ORIENTATIONS
        for f in frequencies:
            for sigma in {max(cycles / f, 0.6) for cycles in CYCLES if cycles / f <= side / 2}:
                rows, along_rows = _axis(shape[0], sigma, -f * math.sin(theta), atoms)
                columns, along_columns = _axis(shape[1], sigma, f * math.cos(theta), atoms)
                z = along_rows @ images @ along_columns.T
                s = torch.outer(along_rows.abs().square().sum(1), along_columns.abs().square().sum(1))
                q = torch.outer(along_rows.square().sum(1), along_columns.square().sum(1))
                explained = 2 * (s * z.abs() ** 2 - (q.conj() * z**2).real) / (s**2 - q.abs() ** 2).clamp(min=1e-9)
                energy, place = explained.flatten(1).max(1)
                found = torch.stack([rows[place // len(columns)], columns[place % len(columns)]], 1)
                rest = atoms.new_tensor([math.log(sigma), math.log(sigma), theta, math.log(f)]).expand(n, 4)
                better = energy > best[turn]
                best[turn] = torch.where(better, energy, best[turn])
                start[turn] = torch.where(better[:, None], torch.cat([found, rest], 1), start[turn])
    kept = best.topk(KEPT, 0).indices
    return start.gather(0, kept[:, :, None].expand(-1, -1, 6)).transpose(0, 1)


def _axis(n: int, sigma: float, frequency: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """Centres a sigma apart and their complex one-dimensional Gabor functions ``(centres, n)``."""
    centres = torch.linspace(0, n - 1, max(2, math.ceil((n - 1) / max(1.0, sigma)) + 1)).to(like)
    away = torch.arange(n).to(like) - centres[:, None]
    return centres, torch.exp(-0.5 * (away / sigma) ** 2 + 2j * math.pi * frequency * away)


def best_fits(atoms: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Parameters ``(atoms, 6)``, amplitudes ``(atoms, 2)`` and squared residuals of atoms of unit energy, float64."""
    round_ones = coarse(atoms, shape)
    starts = torch.stack([round_ones + math.log(longer) * _LONG.to(atoms) for longer in LENGTHS], 2).flatten(1, 2)
    for steps, kept in ((TRIAL, FINALISTS), (STEPS, 1)):
        n = starts.shape[1]
        p, cost = descend(starts.flatten(0, 1), atoms.repeat_interleave(n, 0), shape, steps)
        first = cost.view(-1, n).topk(kept, 1, largest=False).indices
        starts = p.view(-1, n, 6).gather(1, first[:, :, None].expand(-1, -1, 6))
    p = starts[:, 0]
    cost, _, _, amplitude = evaluate(p, atoms, shape)
    return p, amplitude, cost


_LONG = torch.tensor([0.0, 0, 0, 1, 0, 0])
