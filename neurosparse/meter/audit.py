"""Products that no torch function shows, such as those of scripted code: seen one level below, and named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Audit"]

#: Torch's own names, below its functions, for what multiplies tensors with each other.
PRODUCTS = frozenset(
    """
    _convolution _embedding_bag _scaled_dot_product_flash_attention_for_cpu _sparse_mm addbmm addmm addmv addr baddbmm
    bilinear bmm convolution dot embedding linear matmul mkldnn_rnn_layer mm mv vdot
    """.split()  # noqa: SIM905
)


class Audit(TorchDispatchMode):
    """Tells of products that run while ``watching()``: inside the model, and inside no function that was seen."""

    def __init__(self, watching: Callable[[], bool], found: Callable[[str], None]):
        super().__init__()
        self.watching, self.found = watching, found

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch loads its whole compiler, two seconds, the first time

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name = func.overloadpacket.__name__
        if name in PRODUCTS and self.watching():
            self.found(name)
        return func(*args, **(kwargs or {}))
