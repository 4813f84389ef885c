"""Loops of the event-driven convolution over one image: runs of taps times runs of outputs.

Images of outputs and gradients have their channels last, and the taps of one row of the kernel lie together with all
output channels. The rows of the kernel are the outer loop, so that their weights stay in cache.
"""

from __future__ import annotations

from neurosparse.kernels.dispatch import kernel, prange
from neurosparse.kernels.input_grad import dot_four, dot_two, list_inside
from neurosparse.kernels.rows import copy_row
from neurosparse.kernels.weight_grad import add_four, add_scaled

__all__ = ["backward_loop", "forward_loop"]


@kernel
def _sort(index, channel, number, pixel, start, count):
    """Sort the inputs ``index = channel * pixels + pixel`` of an image by pixel; returns how many pixels have any.

    Those of pixel ``pixel[n]`` are ``start[n]:start[n + 1]``, with their channel and their number in ``index``.
    """
    n_pixels, n, at = count.shape[0], 0, 0
    for p in range(n_pixels):
        count[p] = 0
    for e in range(index.shape[0]):
        count[index[e] % n_pixels] += 1
    for p in range(n_pixels):
        pixel[n], start[n] = p, at
        n += count[p] > 0
        at, count[p] = at + count[p], at
    start[n] = at
    for e in range(index.shape[0]):
        c, p = index[e] // n_pixels, index[e] % n_pixels
        channel[count[p]], number[count[p]] = c, e
        count[p] += 1
    return n


@kernel
def _channels_last(image, lines):
    """Channels x pixels to pixels x channels, the inner loop along the contiguous pixels."""
    for c in range(image.shape[0]):
        for p in range(image.shape[1]):
            lines[p, c] = image[c, p]


@kernel
def _channels_first(lines, image):
    for c in range(image.shape[0]):
        for p in range(image.shape[1]):
            image[c, p] = lines[p, c]


@kernel
def _add_weights(lines, taps, value, run, row, n_out, n, channel, number, pixel, start):
    """lines[y, x out] += value * taps[ky, channel, kx out] for the events of an image."""
    graded, one, width = value.shape[0] > 0, lines.dtype.type(1), run.shape[0]
    for ky in range(taps.shape[0]):
        for i in range(n):
            y, x = row[ky, pixel[i] // width], pixel[i] % width
            if y < 0 or run[x, 2] == 0:
                continue
            tap, size = run[x, 0] * n_out, run[x, 2] * n_out
            upto = tap + size
            weights, target = taps[ky], lines[y, run[x, 1] * n_out :][:size]
            e, end = start[i], start[i + 1]
            while not graded and e + 4 <= end:
                a, b, c, d = channel[e], channel[e + 1], channel[e + 2], channel[e + 3]
                add_four(target, weights[a, tap:upto], weights[b, tap:upto], weights[c, tap:upto], weights[d, tap:upto])
                e += 4
            while e < end:
                add_scaled(target, weights[channel[e], tap:upto], value[number[e]] if graded else one)
                e += 1


@kernel
def _add_gradients(taps, lines, value, run, row, n_out, n, channel, number, pixel, start):
    """taps[ky, channel, kx out] += value * lines[y, x out]: the same loop with taps and lines exchanged."""
    graded, one, width = value.shape[0] > 0, lines.dtype.type(1), run.shape[0]
    for ky in range(taps.shape[0]):
        for i in range(n):
            y, x = row[ky, pixel[i] // width], pixel[i] % width
            if y < 0 or run[x, 2] == 0:
                continue
            tap, size = run[x, 0] * n_out, run[x, 2] * n_out
            gradient = lines[y, run[x, 1] * n_out :][:size]
            for e in range(start[i], start[i + 1]):
                add_scaled(taps[ky, channel[e], tap : tap + size], gradient, value[number[e]] if graded else one)


@kernel
def _dot_products(out, lines, taps, run, row, n_out, n, channel, number, pixel, start):
    """out[channel pixel] = sum of taps[ky, channel, kx out] * lines[y, x out] for inputs in the order of pixels."""
    width, n_pixels = run.shape[0], row.shape[1] * run.shape[0]
    for ky in range(taps.shape[0]):
        for i in range(n):
            y, x = row[ky, pixel[i] // width], pixel[i] % width
            if y < 0 or run[x, 2] == 0:
                continue
            tap, size = run[x, 0] * n_out, run[x, 2] * n_out
            upto = tap + size
            weights, gradient = taps[ky], lines[y, run[x, 1] * n_out :][:size]
            e, end = start[i], start[i + 1]
            while e + 3 <= end:  # of three, the last is taken twice
                a, b, c, d = channel[e], channel[e + 1], channel[e + 2], channel[min(e + 3, end - 1)]
                p, q, r, s = dot_four(
                    gradient, weights[a, tap:upto], weights[b, tap:upto], weights[c, tap:upto], weights[d, tap:upto]
                )
                out[a * n_pixels + pixel[i]] += p
                out[b * n_pixels + pixel[i]] += q
                out[c * n_pixels + pixel[i]] += r
                if e + 4 <= end:
                    out[d * n_pixels + pixel[i]] += s
                e += 4
            if e < end:
                a, b = channel[e], channel[end - 1]
                p, q = dot_two(gradient, weights[a, tap:upto], weights[b, tap:upto])
                out[a * n_pixels + pixel[i]] += p
                if e + 1 < end:
                    out[b * n_pixels + pixel[i]] += q


@kernel
def forward_loop(row_ptr, index, value, taps, bias, run, row, out, lines, channel, number, pixel, start, count):
    """out[r] = bias + the sum of taps over the events of image r."""
    n_workers, n_out = lines.shape[0], bias.shape[0]
    for worker in prange(n_workers):
        image = lines[worker].reshape(-1, n_out)
        order = (channel[worker], number[worker], pixel[worker], start[worker])
        for r in range(worker, out.shape[0], n_workers):
            begin, end = row_ptr[r], row_ptr[r + 1]
            for p in range(image.shape[0]):
                copy_row(image[p], bias)
            n = _sort(index[begin:end], *order, count[worker])
            _add_weights(lines[worker], taps, value[begin:end], run, row, n_out, n, *order)
            _channels_first(image, out[r])


@kernel
def backward_loop(
    row_ptr,
    index,
    support,
    grad,
    taps,
    grad_taps,
    grad_input,
    value,
    run,
    row,
    lines,
    channel,
    number,
    pixel,
    start,
    count,
    inside,
):
    """Gradients of the taps from events, summed up by each worker, and of the inputs inside the support.

    What is not to be computed is empty.
    """
    n_workers, n_out = lines.shape[0], grad.shape[1]
    for worker in prange(n_workers):
        image = lines[worker].reshape(-1, n_out)
        order = (channel[worker], number[worker], pixel[worker], start[worker])
        for r in range(worker, grad.shape[0], n_workers):
            begin, end = row_ptr[r], row_ptr[r + 1]
            _channels_last(grad[r], image)
            if grad_taps.shape[0] > 0:
                n = _sort(index[begin:end], *order, count[worker])
                _add_gradients(grad_taps[worker], lines[worker], value[begin:end], run, row, n_out, n, *order)
            if grad_input.shape[0] > 0:
                found = inside[worker, : list_inside(support[r], inside[worker])]
                n = _sort(found, *order, count[worker])
                _dot_products(grad_input[r], lines[worker], taps, run, row, n_out, n, *order)
