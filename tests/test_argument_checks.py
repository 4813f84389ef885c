"""Arguments are checked in one module, `neurosparse.checks`; no function checks a number or a choice by hand."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

PACKAGE = Path(__file__).parents[1] / "neurosparse"
NUMBERS = {"int", "float", "bool", "complex", "Number", "Real", "Integral", "integer", "floating", "bool_"}
# Relations between several arguments, which no check of one argument expresses.
RELATIONS = ("predictive/network.py",)


def hand_written_checks(package: Path) -> list[str]:
    """`if ...: raise InputError(...)` where the condition is a type of number, a range or a choice of a parameter."""
    found = {
        f"{file.relative_to(package)}:{node.lineno} checks an argument by hand"
        for file in package.rglob("*.py")
        if file != package / "checks.py"
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if _refuses(node) and any(_is_by_hand(part, _parameters(function)) for part in _conditions(node.test))
    }
    return sorted(found)


def _parameters(function: ast.FunctionDef) -> set[str]:
    named = function.args
    return {each.arg for each in (*named.posonlyargs, *named.args, *named.kwonlyargs)}


def _refuses(node: ast.AST) -> TypeGuard[ast.If]:
    last = node.body[-1] if isinstance(node, ast.If) else None
    return isinstance(last, ast.Raise) and isinstance(last.exc, ast.Call) and ast.unparse(last.exc.func) == "InputError"


def _conditions(test: ast.expr) -> Iterator[ast.expr]:
    """What is joined by `and`, `or` and `not`."""
    if isinstance(test, ast.BoolOp):
        for part in test.values:
            yield from _conditions(part)
    elif isinstance(test, ast.UnaryOp):
        yield from _conditions(test.operand)
    else:
        yield test


def _is_by_hand(test: ast.expr, parameters: set[str]) -> bool:
    if isinstance(test, ast.Call):
        parts = list(ast.walk(test))
        kinds = {name for part in parts if _is_isinstance(part) for name in _names(part.args[1])}
        return bool(NUMBERS & kinds) or any(isinstance(part, ast.Compare) and _compares_types(part) for part in parts)
    if not isinstance(test, ast.Compare):
        return False
    if isinstance(test.ops[0], ast.NotIn):
        known = test.comparators[0]
        constants = isinstance(known, ast.Tuple | ast.List | ast.Set) and all(map(_is_constant, known.elts))
        table = isinstance(known, ast.Name) and known.id.isupper()
        return (constants or table) and isinstance(test.left, ast.Name) and test.left.id in parameters
    operands = [test.left, *test.comparators]
    ordered = all(isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for op in test.ops)
    of_parameter = [isinstance(part, ast.Name) and part.id in parameters for part in operands]
    rest = [part for part, is_parameter in zip(operands, of_parameter, strict=True) if not is_parameter]
    return _compares_types(test) or (ordered and sum(of_parameter) == 1 and all(map(_is_constant, rest)))


def _is_isinstance(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance"


def _compares_types(test: ast.Compare) -> bool:
    """`type(x) is int`."""
    of_type = isinstance(test.left, ast.Call) and ast.unparse(test.left.func) == "type"
    return of_type and any(NUMBERS & _names(other) for other in test.comparators)


def _names(node: ast.expr) -> set[str]:
    return {ast.unparse(part).split(".")[-1] for part in ast.walk(node) if isinstance(part, ast.Name | ast.Attribute)}


def _is_constant(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) or ast.unparse(node) in ("math.inf", "-math.inf", "-1")


def test_arguments_are_checked_in_one_module():
    assert not [each for each in hand_written_checks(PACKAGE) if not each.startswith(RELATIONS)]


@pytest.mark.parametrize(
    "condition",
    [
        "type(n) is not int",
        "not isinstance(n, int) or n.x",
        "isinstance(n, (bool, str))",
        "any(not isinstance(each, int | np.integer) for each in n)",
        "any(type(each) is not int for each in n)",
        "not 0 <= n <= 1",
        "n is None or n < 1",
        "not (n > 0 and n < math.inf)",
        "n not in KINDS",
        "n not in ('b', 'c')",
    ],
)
def test_the_check_can_fail(tmp_path, condition):
    text = "def f(n):\n    if {}:\n        fix = ''\n        raise InputError('f', got=n, expected=1, fix=fix)"
    (tmp_path / "checks.py").write_text(text.format(condition))
    for number, sound in enumerate(("n.dim() < 3", "n > len(n)", "(n < 0).any()", "isinstance(n, Tensor)", "k < 0")):
        (tmp_path / f"sound{number}.py").write_text(text.format(sound))
    assert not hand_written_checks(tmp_path)
    (tmp_path / "broken.py").write_text(text.format(condition))
    assert hand_written_checks(tmp_path) == ["broken.py:2 checks an argument by hand"]
