"""Kernels as operators of PyTorch: what `torch.library` demands of one, without the compiler that it would import."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor

import neurosparse as ns
from neurosparse.kernels.operator import torch_operator


@torch_operator("test_scale")
def scale(x: Tensor, factor: int) -> Tensor:
    return factor * x.clone()


@scale.register_meta
def _(x, factor):
    return torch.empty_like(x)


def _setup(ctx, inputs, output):
    ctx.factor = inputs[1]


scale.register_autograd(lambda ctx, grad: (ctx.factor * grad, None), setup_context=_setup)


@torch_operator("test_positive")
def positive(x: Tensor) -> Tensor:
    return x[x > 0]


@positive.register_fake
def _(x):
    return x.new_empty(torch.library.get_ctx().new_dynamic_size())


def test_operators_pass_the_checks_of_torch():
    x = torch.arange(-2.0, 3).requires_grad_()
    torch.library.opcheck(torch.ops.neurosparse.test_scale.default, (x, 3))
    torch.library.opcheck(torch.ops.neurosparse.test_positive.default, (x.detach(),))


def test_a_body_is_no_part_of_a_compiled_graph():
    x = torch.arange(-2.0, 3)
    compiled = torch.compile(lambda x: positive(scale(x, 2)).sum(), fullgraph=True, backend="eager")
    assert compiled(x) == 6


def test_an_operator_without_a_gradient_refuses_to_be_derived():
    with pytest.raises(ns.InputError, match="derivative of a kernel"):
        positive(torch.ones(2, requires_grad=True)).sum().backward()


def test_a_training_step_does_not_import_the_compiler_of_torch():
    script = """
import sys, torch, neurosparse as ns
from tests.contract.test_operator import scale
scale(torch.ones(2, requires_grad=True), 3).sum().backward()
events = ns.EventTensor.from_dense(torch.eye(3)[:, None])
assert events.counts().sum() == 3
print(*{"torch._dynamo", "sympy"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
