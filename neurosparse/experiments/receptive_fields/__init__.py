"""Receptive fields: dictionaries learned under one budget, compared by the shapes of their atoms."""
