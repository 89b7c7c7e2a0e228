"""Records to pages: one HTML file in two editions, a table for the terminal, and JUnit XML."""

from __future__ import annotations

from synthrelease.report.html import render
from synthrelease.report.inputs import ContactSheet, Edition, LookAlike, ReportInputs
from synthrelease.report.junit import junit_xml
from synthrelease.report.terminal import audit_text

__all__ = ["ContactSheet", "Edition", "LookAlike", "ReportInputs", "audit_text", "junit_xml", "render"]
