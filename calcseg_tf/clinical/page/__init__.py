"""Writes report.html: one file for a browser, without a network, to look through a mammogram and its calcifications."""

from calcseg_tf.clinical.page.report import write_report

__all__ = ["write_report"]
