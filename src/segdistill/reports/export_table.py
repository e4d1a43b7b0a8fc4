"""Tables of exported files: size, score, time, and agreement with PyTorch."""

from typing import Any

from rich.table import Table

from segdistill.reports.screen import screen_table

Record = dict[str, Any]


def export_table(report: Record) -> Table:
    """Return the table of ``export.json``."""
    metric = "top-1" if report["metric"] == "top1" else "mIoU"
    table = screen_table("file", "MB", metric, "ms", "equal pixels", "max difference", "remark")
    for name, record in report["formats"].items():
        if name == "pytorch":
            table.add_row("(PyTorch)", "-", _percent(record["score"]), _number(record["milliseconds"]), "", "", "")
        elif not record["written"]:
            table.add_row(name, "-", "-", "-", "-", "-", f"not written: {record['reason']}")
        else:
            table.add_row(
                record["file"],
                f"{record['megabytes']:.1f}",
                _percent(record["score"]),
                _number(record["milliseconds"]),
                f"{100 * record['equal']:.3f} %",
                f"{record['difference']:.1e}",
                _remark(record),
            )
    return table


def bench_table(records: dict[str, Record], metric: str) -> Table:
    """Return the table of ``segdistill bench``."""
    table = screen_table("file", "MB", "top-1" if metric == "top1" else "mIoU", "ms", "speed-up")
    slowest = records["pytorch"]["milliseconds"]
    for record in records.values():
        table.add_row(
            record["file"],
            f"{record['megabytes']:.1f}",
            _percent(record["score"]),
            _number(record["milliseconds"]),
            f"{slowest / record['milliseconds']:.1f}",
        )
    return table


def _remark(record: Record) -> str:
    if "largest" in record:
        return "one image at a time, up to {}x{}".format(*record["largest"])
    if "in_float" not in record:
        return ""
    bits = f"{record['weight_bits']}-bit weights"
    if not record["in_float"]:
        return f"{bits}, all {record['layers']} layers int8"
    return f"{bits}, {len(record['in_float'])} of {record['layers']} layers in float: {', '.join(record['in_float'])}"


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
