"""The gate's verdict as one HTML page that needs nothing beside it."""

from html import escape

from rayox_platform.data.images import CocoImages
from rayox_platform.promote.checks import Check, Evidence
from rayox_platform.promote.verdict import Verdict


def gate_page(name: str, found: Evidence, verdict: Verdict, images: CocoImages) -> str:
    """Each check with its numbers."""
    rows = "\n".join(_row(check) for check in verdict.checks)
    return f"<!doctype html><meta charset=utf-8><title>{escape(name)}</title><table>{rows}</table>\n"


def _row(check: Check) -> str:
    cells = ("pass" if check.passed else "FAIL", check.name, check.text)
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
