"""The exact size of weights: every format written as a string of bits and read back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurosparse.energy import storage_bits
from neurosparse.errors import InputError
from neurosparse.events import EventTensor


@st.composite
def weights(draw):
    rows, columns = draw(st.integers(1, 9)), draw(st.integers(1, 40))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    values = torch.randint(1, 8, (rows, columns), generator=generator)  # 3 bits, none of them zero
    return values * (torch.rand(rows, columns, generator=generator) < draw(st.floats(0, 1)))


def width(n: int) -> int:
    """The smallest b with 2**b >= n."""
    b = 0
    while 2**b < n:
        b += 1
    return b


def word(value: int, bits: int) -> str:
    return format(value, f"0{bits}b") if bits else ""


def take(text: str, at: int, bits: int) -> tuple[int, int]:
    return int(text[at : at + bits] or "0", 2), at + bits


def bitmap(x: torch.Tensor) -> str:
    flat = x.flatten().tolist()
    return "".join("1" if v else "0" for v in flat) + "".join(word(v, 3) for v in flat if v)


def from_bitmap(text: str, shape: torch.Size) -> torch.Tensor:
    out, at = [], shape.numel()
    for bit in text[: shape.numel()]:
        value, at = take(text, at, 3) if bit == "1" else (0, at)
        out.append(value)
    assert at == len(text)
    return torch.tensor(out).view(shape)


def coordinates(x: torch.Tensor) -> str:
    rows, columns = map(width, x.shape)
    return "".join(word(i, rows) + word(j, columns) + word(int(x[i, j]), 3) for i, j in x.nonzero().tolist())


def from_coordinates(text: str, shape: torch.Size) -> torch.Tensor:
    x, at = torch.zeros(shape, dtype=torch.long), 0
    while at < len(text):
        i, at = take(text, at, width(shape[0]))
        j, at = take(text, at, width(shape[1]))
        x[i, j], at = take(text, at, 3)
    return x


def compressed_rows(x: torch.Tensor) -> str:
    pointers = [0, *(x != 0).sum(1).cumsum(0).tolist()]
    entries = "".join(word(j, width(x.shape[1])) + word(int(x[i, j]), 3) for i, j in x.nonzero().tolist())
    return "".join(word(p, width(pointers[-1] + 1)) for p in pointers) + entries


def from_compressed_rows(text: str, shape: torch.Size) -> torch.Tensor:
    # The number of values follows from the length of the text: the first that fits.
    for n in range(shape.numel() + 1):
        if (shape[0] + 1) * width(n + 1) + n * (width(shape[1]) + 3) == len(text):
            break
    x, at, pointers = torch.zeros(shape, dtype=torch.long), 0, []
    for _ in range(shape[0] + 1):
        pointer, at = take(text, at, width(n + 1))
        pointers.append(pointer)
    for i in range(shape[0]):
        for _ in range(pointers[i + 1] - pointers[i]):
            j, at = take(text, at, width(shape[1]))
            x[i, j], at = take(text, at, 3)
    return x


CODERS = {
    "bitmap": (bitmap, from_bitmap),
    "aer": (coordinates, from_coordinates),
    "csr": (compressed_rows, from_compressed_rows),
}


@given(weights(), st.sampled_from(sorted(CODERS)))
def test_sizes_are_those_of_codes_that_can_be_read_back(x, name):
    write, read = CODERS[name]
    text = write(x)
    assert torch.equal(read(text, x.shape), x)
    assert storage_bits(x, name, bits=3) == len(text)
    assert storage_bits(x, "dense", bits=3) == 3 * x.numel()


@given(weights())
def test_run_lengths_are_those_of_events(x):
    events = EventTensor.from_dense((x != 0)[:, None])
    assert storage_bits(x, "rle", bits=3) == events.bits("rle") + 3 * int((x != 0).sum())


@given(weights(), st.sampled_from([(1, 2), (2, 4), (1, 4), (4, 8)]))
def test_size_of_patterns(x, pattern):
    kept, group = pattern
    padded = torch.nn.functional.pad(x, (0, -x.shape[1] % group))
    groups = padded.view(len(x), -1, group)
    name = f"{kept}:{group}"
    if int((groups != 0).sum(-1).max()) > kept:
        with pytest.raises(InputError, match=f"at most {kept} of {group}"):
            storage_bits(x, name, bits=3)
    else:  # each group: `kept` values, each with its place
        assert storage_bits(x, name, bits=3) == groups.shape[0] * groups.shape[1] * kept * (3 + width(group))


def test_kernels_sparse_layouts_and_dtypes():
    kernel = torch.zeros(4, 3, 5, 5, dtype=torch.float16)
    kernel[0, 0, 0, :2] = 1
    assert storage_bits(kernel, "csr") == 5 * 2 + 2 * (7 + 16)  # 4 rows of 75, two values of 16 bits
    assert storage_bits(kernel.flatten(1).to_sparse(), "csr") == storage_bits(kernel, "csr")
    assert storage_bits(kernel, "dense", bits=8) == 8 * 300


def test_crossovers_in_closed_form():
    """A bitmap beats addresses of unit spikes above a density of 1 / address bits; 2:4 is half, and two bits."""
    for density, winner in ((0.09, "aer"), (0.11, "bitmap")):
        x = torch.zeros(1, 1, 1024, dtype=torch.bool)  # 10 address bits: crossover at 10 %
        x[..., : round(1024 * density)] = True
        events = EventTensor.from_dense(x)
        assert min(("aer", "bitmap"), key=events.bits) == winner
    x = torch.tensor([1, 0, 2, 0] * 8)[None]
    assert storage_bits(x, "2:4", bits=8) / storage_bits(x, "dense", bits=8) == pytest.approx((8 + 2) / 16)


def test_refusals():
    for x, name in (
        (torch.ones(5), "csr"),
        (torch.ones(0, 5), "csr"),
        (torch.ones(2, 5), "coo"),
        (torch.ones(2, 5), "4:2"),
    ):
        with pytest.raises(InputError):
            storage_bits(x, name)
