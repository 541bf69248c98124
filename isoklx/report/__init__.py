"""One page to look at: what was measured, what it says, and what the model said."""

from isoklx.report.page import write_report as write_report
