"""The GPU's scan equals the reference: on a GPU where there is one, else step by step in Triton's interpreter."""

import pytest
import torch

import neurosparse as ns
from neurosparse.kernels.scan.cpu import Cell
from neurosparse.kernels.scan.reference import LIFState, scan_reference

scan = pytest.importorskip("neurosparse.kernels.scan.triton", exc_type=ImportError).leaky_scan_dense
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SURROGATES = {
    "boxcar": ns.boxcar(0.7),
    "atan": ns.atan(),
    "triangle": ns.neurons.triangle(),
    "fast_sigmoid": ns.neurons.fast_sigmoid(),
}
CASES = [  # reset, delayed, surrogate, dtype, ragged, one gradient for all steps
    ("subtract", False, "boxcar", torch.float32, False, False),
    ("subtract", False, "atan", torch.float32, True, False),
    ("subtract", True, "triangle", torch.float64, False, False),
    ("subtract", True, "boxcar", torch.float32, True, True),
    ("zero", False, "fast_sigmoid", torch.float32, False, False),
    ("zero", False, "boxcar", torch.float64, True, False),
    ("none", False, "atan", torch.float64, False, True),
    ("none", True, "triangle", torch.float32, True, False),
]


def _cell(reset: str, delayed: bool, surrogate, dtype: torch.dtype, ragged: bool) -> tuple[torch.Tensor, Cell]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(shape, dtype=dtype, generator=generator).to(DEVICE)

    lengths = torch.tensor([19, 5, 0] if ragged else [], dtype=torch.int64, device=DEVICE)
    constants = draw(15), 0.5 + draw(15), 2 * draw(3, 15) - 1
    return 3 * draw(19, 3, 15) - 1, Cell(*constants, lengths, reset, delayed, surrogate.shape, surrogate.size)


@pytest.mark.parametrize(("reset", "delayed", "name", "dtype", "ragged", "still"), CASES)
def test_spikes_are_the_laws_and_gradients_agree(reset, delayed, name, dtype, ragged, still):
    surrogate = SURROGATES[name]
    current, cell = _cell(reset, delayed, surrogate, dtype, ragged)
    ours, reference = current.clone().requires_grad_(), current.clone().requires_grad_()
    spikes, last = scan(ours, cell, surrogate.derivative)
    options = {"delayed": delayed, "lengths": cell.lengths if ragged else None}
    constants = cell.beta, cell.threshold, LIFState(cell.start)
    expected, _, state = scan_reference(reference, *constants, reset, surrogate.derivative, **options)
    assert 0.05 < expected.mean() < 0.95
    assert torch.equal(spikes, expected)
    assert torch.equal(last, state.membrane)
    grad = torch.randn(current.shape[1:], dtype=dtype, device=DEVICE).expand_as(current)
    grad = grad if still else grad * torch.linspace(0.5, 1, len(grad), dtype=dtype, device=DEVICE)[:, None, None]
    spikes.backward(grad)
    expected.backward(grad)
    torch.testing.assert_close(ours.grad, reference.grad, rtol=1e-5, atol=1e-5)


def test_a_surrogate_the_kernel_does_not_know():
    surrogate = ns.neurons.Surrogate("gauss", lambda x: torch.exp(-x * x))
    current, cell = _cell("zero", False, surrogate, torch.float32, False)
    ours, reference = current.clone().requires_grad_(), current.clone().requires_grad_()
    scan(ours, cell, surrogate.derivative)[0].sum().backward()
    constants = cell.beta, cell.threshold, LIFState(cell.start)
    scan_reference(reference, *constants, "zero", surrogate.derivative)[0].sum().backward()
    torch.testing.assert_close(ours.grad, reference.grad, rtol=1e-5, atol=1e-5)


def test_nan_is_refused():
    current, cell = _cell("subtract", False, ns.boxcar(), torch.float32, False)
    current[3, 1, 2] = torch.nan
    with pytest.raises(ns.InputError, match="NaN in the current"):
        scan(current, cell, None)


def test_nothing_in_nothing_out():
    _, cell = _cell("subtract", False, ns.boxcar(), torch.float32, False)
    for steps in (0, 1):
        empty = cell._replace(start=cell.start[:0])
        assert scan(torch.zeros(steps, 0, 15, device=DEVICE), empty, None)[0].shape == (steps, 0, 15)
