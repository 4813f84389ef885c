"""Reports: the comparison as an HTML page, a terminal or Markdown table and JSON; parts that all reports share."""

from neurosparse.plot.files import write as write_figure
from neurosparse.plot.units import si
from neurosparse.report import receptive_fields
from neurosparse.report.citations import citations
from neurosparse.report.columns import as_markdown, as_table, mean_sd
from neurosparse.report.compared import forest_rows
from neurosparse.report.comparison import Comparison
from neurosparse.report.csv_files import csv
from neurosparse.report.factorial import factorial
from neurosparse.report.method import method
from neurosparse.report.overview import overview, save_overview
from neurosparse.report.page import render, save
from neurosparse.report.paper import latex
from neurosparse.report.results import check, load, write_results
from neurosparse.report.sentence import sentence
from neurosparse.report.table import markdown, percent, table

__all__ = [
    "Comparison", "as_markdown", "as_table", "check", "citations", "csv", "factorial", "forest_rows", "latex", "load",
    "markdown", "mean_sd", "method", "overview", "percent", "receptive_fields", "render", "save", "save_overview",
    "sentence", "si", "table", "write_figure", "write_results",
]  # fmt: skip
