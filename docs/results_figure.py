"""The differences of a comparison as a figure that stands alone, in the form of the chart in report.html."""

from collections.abc import Mapping
from typing import Any

from segdistill.reports.html import charts

INTERVALS = {"over_seeds": "over seeds", "over_images": "over images"}

# The report's colors on white.
STYLE = """svg { background: #fff; font: 12px sans-serif; }
text { fill: #1b1f24; } .tick, .axis { fill: #57606a; } .end { text-anchor: end; } .middle { text-anchor: middle; }
.mean { fill: #0072b2; } .grid { stroke: #d0d7de; }
.reference { stroke: #57606a; stroke-width: 1.5; stroke-dasharray: 5 4; }
.spread { stroke: #0072b2; stroke-width: 2; } .interval { stroke: #c44e00; stroke-width: 1.6; stroke-dasharray: 4 2; }
.end-mark { stroke-dasharray: none; }"""


def figure(differences: Mapping[str, Any]) -> str:
    """Return an SVG with a row for each method: the mean difference of all classes and its two intervals."""
    rows = {
        row["method"]: (
            row["difference_points"]["mean"],
            [None if row[key] is None else (row[key]["low"], row[key]["high"]) for key in INTERVALS],
        )
        for row in differences["rows"]
        if row["classes"] == "all"
    }
    reference = "the student alone" if differences["reference"] == "none" else differences["reference"]
    unit, title = f"points of mIoU over {reference}", f"Differences to {reference}, all classes"
    chart = charts.intervals(title, rows, list(INTERVALS.values()), unit)
    return (
        str(chart)
        .replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" width="640" ', 1)
        .replace("<title>", f"<style>{STYLE}</style><title>", 1)
        + "\n"
    )
