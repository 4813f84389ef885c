"""Arguments are checked in one module, `neurosparse.checks`; no other file checks a number or a choice by hand."""

import ast
from pathlib import Path
from typing import TypeGuard

import pytest

PACKAGE = Path(__file__).parents[1] / "neurosparse"
NUMBERS = {"int", "float", "bool", "complex", "Number", "Real", "Integral", "integer", "floating", "bool_"}


def hand_written_checks(package: Path) -> list[str]:
    """Arguments that are checked without `neurosparse.checks`: types of numbers, ranges, choices among names."""
    return [
        f"{file.relative_to(package)}:{node.lineno} checks an argument by hand"
        for file in sorted(package.rglob("*.py"))
        if file.name != "checks.py" or file.parent != package
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if _compares_a_type(node) or (_refuses(node) and any(map(_checks_by_hand, ast.walk(node.test))))
    ]


def _compares_a_type(node: ast.AST) -> bool:
    """`type(x) is int`."""
    return (
        isinstance(node, ast.Compare)
        and isinstance(node.left, ast.Call)
        and ast.unparse(node.left.func) == "type"
        and any(ast.unparse(other) in NUMBERS for other in node.comparators)
    )


def _refuses(node: ast.AST) -> TypeGuard[ast.If]:
    """`if ...: raise InputError(...)`."""
    last = node.body[-1] if isinstance(node, ast.If) else None
    return isinstance(last, ast.Raise) and isinstance(last.exc, ast.Call) and ast.unparse(last.exc.func) == "InputError"


def _checks_by_hand(test: ast.AST) -> bool:
    if isinstance(test, ast.Call) and ast.unparse(test.func) == "isinstance":
        return bool(NUMBERS & {ast.unparse(part).split(".")[-1] for part in ast.walk(test.args[1])})
    if not isinstance(test, ast.Compare):
        return False
    if isinstance(test.ops[0], ast.NotIn):  # one of constants, or of a table named in capitals
        known = test.comparators[0]
        constants = isinstance(known, ast.Tuple | ast.List | ast.Set) and all(map(_is_constant, known.elts))
        return constants or (isinstance(known, ast.Name) and known.id.isupper())
    operands = [test.left, *test.comparators]
    ordered = all(isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for op in test.ops)
    names = [part for part in operands if isinstance(part, ast.Name)]
    return ordered and len(names) == 1 and all(map(_is_constant, (part for part in operands if part not in names)))


def _is_constant(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) or ast.unparse(node) in ("math.inf", "-math.inf", "-1")


@pytest.mark.parametrize(
    "text",
    [
        "ok = type(n) is not int",
        "if not isinstance(n, int) or n < 1:\n    raise InputError('a', got=n, expected=1)",
        "if isinstance(n, (bool, str)):\n    raise InputError('a', got=n, expected=1)",
        "if not 0 <= share <= 1:\n    raise InputError('a', got=share, expected=1)",
        "if kind not in KINDS:\n    fix = ''\n    raise InputError('a', got=kind)",
        "if kind not in ('b', 'c'):\n    raise InputError('a', got=kind)",
    ],
)
def test_the_check_can_fail(tmp_path, text):
    (tmp_path / "checks.py").write_text(text)
    (tmp_path / "sound.py").write_text("if x.dim() < 3 or n > len(x):\n    raise InputError('y', got=n, expected=3)")
    assert not hand_written_checks(tmp_path)
    (tmp_path / "broken.py").write_text(text)
    assert hand_written_checks(tmp_path)
