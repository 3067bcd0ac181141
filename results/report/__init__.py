"""The report of a search: a page that needs no network, the same in Markdown, and its figures."""

from results.report.data import Reference, Report
from results.report.files import write_report

__all__ = ["Reference", "Report", "write_report"]
