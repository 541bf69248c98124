"""The HTML page of a sweep: figures, tables, safe doses and rollouts."""

from isoklx.report.page import write_report as write_report
