"""Fused operators as equations in plain torch."""

EQUATIONS = {}
