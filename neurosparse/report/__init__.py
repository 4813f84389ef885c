"""The comparison for readers: one HTML page, a terminal table, a Markdown table, and the JSON behind all three."""

from neurosparse.report import associative_memory, end_stopping, receptive_fields
from neurosparse.report.citations import citations
from neurosparse.report.comparison import Comparison
from neurosparse.report.method import method
from neurosparse.report.page import render, save
from neurosparse.report.paper import csv, latex
from neurosparse.report.results import check, load
from neurosparse.report.table import markdown, table

__all__ = [
    "Comparison", "associative_memory", "check", "citations", "csv", "end_stopping", "latex", "load",
    "markdown", "method", "receptive_fields", "render", "save", "table",
]  # fmt: skip
