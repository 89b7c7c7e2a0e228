"""The audit as JUnit XML, so that a build server shows it as red and green."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

from synthrelease.records.findings import Verdict

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(audit: Mapping[str, Any]) -> str:
    """One test case per finding.

    A finding that failed is a failure, an undecided one that is required an error (it blocks a release), an undecided
    one that is not required is skipped.
    """
    findings = audit["findings"]
    kinds = [_kind(finding) for finding in findings]
    suite = ET.Element(
        "testsuite",
        name="synthrelease audit",
        tests=str(len(findings)),
        failures=str(kinds.count("failure")),
        errors=str(kinds.count("error")),
        skipped=str(kinds.count("skipped")),
        time=f"{sum(finding.get('seconds', 0.0) for finding in findings):.3f}",
    )
    for finding, kind in zip(findings, kinds, strict=True):
        case = ET.SubElement(
            suite,
            "testcase",
            classname=_legal(f"audit.{finding['criterion']}"),
            name=_legal(finding["id"]),
            time=f"{finding.get('seconds', 0.0):.3f}",
        )
        if kind:
            ET.SubElement(case, kind, message=_legal(finding["reason"])).text = _legal(finding["question"])
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _kind(finding: Mapping[str, Any]) -> str:
    if finding["verdict"] == Verdict.PASS:
        return ""
    if finding["verdict"] == Verdict.FAIL:
        return "failure"
    return "error" if finding["required"] else "skipped"


def _legal(text: object) -> str:
    return _ILLEGAL.sub("\ufffd", str(text))
