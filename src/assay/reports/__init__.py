"""Reports: records in, one page and one JSON file out. Plots, sentences and tables are computed from records and from nothing else."""

from assay.reports.document import Curve, Explanation, Histogram, Report
from assay.reports.files import read_report, write_report
from assay.reports.findings import no_loss_to_recover
from assay.reports.outcomes import outcome_table
from assay.reports.table import text_table

__all__ = [
    "Curve",
    "Explanation",
    "Histogram",
    "Report",
    "no_loss_to_recover",
    "outcome_table",
    "read_report",
    "text_table",
    "write_report",
]
