"""One table in four forms."""

import csv
import io
import json

import pytest
from rich.console import Console

from segdistill.reports.table import (
    Column,
    Spread,
    Table,
    as_json,
    comma_separated,
    escape,
    latex,
    markdown,
    on_screen,
)

TABLE = Table(
    "Scores",
    (
        Column("method", "method"),
        Column("gain", "gain", digits=1, signed=True, spreads=True),
        Column("seconds", "seconds", digits=0),
    ),
    (
        ("a|b_c", Spread((1.0, 2.0, 6.0)), 12.4),
        ("one, seed", Spread((-0.25,)), 7),
        ("none", None, None),
    ),
)


def test_a_spread_by_hand() -> None:
    spread = Spread((1.0, 2.0, 6.0))
    assert spread.mean == 3
    assert spread.deviation == pytest.approx(7**0.5)  # ((-2)^2 + (-1)^2 + 3^2) / 2
    assert Spread((4.0,)).deviation is None


def test_markdown() -> None:
    assert markdown(TABLE).splitlines() == [
        "| method | gain | seconds |",
        "|---|---:|---:|",
        "| a\\|b_c | +3.0 ± 2.6 | 12 |",
        "| one, seed | -0.2 | 7 |",
        "| none | - | - |",
    ]


def test_latex_has_booktabs_rules_and_no_raw_special_letter() -> None:
    written = latex(TABLE, notes=("100 % of a_b", "± is one"))
    assert r"a\textbar{}b\_c & +3.0 $\pm$ 2.6 & 12 \\" in written
    assert r"\caption{Scores; 100 \% of a\_b; $\pm$ is one.}" in written
    assert r"\begin{tabular}{lrr}" in written
    assert [written.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]


def test_latex_escapes_each_letter_once() -> None:
    assert escape("\\{}") == r"\textbackslash{}\{\}"
    assert escape("50% & #1 $x_1^2~<>") == (
        r"50\% \& \#1 \$x\_1\textasciicircum{}2\textasciitilde{}\textless{}\textgreater{}"
    )


def test_latex_has_a_minus_before_a_number_and_a_hyphen_within_a_name() -> None:
    assert escape("-0.25 to -1.5, over (-.5)") == "$-$0.25 to $-$1.5, over ($-$.5)"
    assert escape("kd-s1, 2027-01, 4.9e-05, --jobs, a-2") == "kd-s1, 2027-01, 4.9e-05, --jobs, a-2"
    assert escape("a|b") == r"a\textbar{}b"


def test_significant_digits_show_small_numbers() -> None:
    column = Column("train.learning_rate", "train.learning_rate", digits=4, significant=True)
    assert [column.show(each) for each in (1e-5, 4.9e-5, 0.123456, 0.1, 3, "1e30")] == [
        "1e-05", "4.9e-05", "0.1235", "0.1", "3", "1e30",
    ]  # fmt: skip


def test_latex_reads_no_name_as_an_optional_argument() -> None:
    written = latex(
        Table("[t]", (Column("class", "[class]"), Column("group", "group")), (("[void]", "a[0]"), (" *x", "[b")))
    )
    rows = written.partition("\\toprule\n")[2].splitlines()
    assert rows[0] == r"{[}class] & group \\"
    assert rows[2:4] == [r"{[}void] & a[0] \\", r"{*}x & {[}b \\"]
    assert r"\caption{{[}t].}" in written


def test_csv_keeps_full_precision_and_parts_mean_from_deviation() -> None:
    rows = list(csv.DictReader(io.StringIO(comma_separated(TABLE))))
    assert [row["method"] for row in rows] == ["a|b_c", "one, seed", "none"]
    assert float(rows[0]["gain_std"]) == 7**0.5
    assert [row["gain"] for row in rows] == ["3.0", "-0.25", ""]
    assert rows[1]["gain_std"] == ""
    assert rows[0]["seconds"] == "12.4"


def test_json_keeps_the_values() -> None:
    rows = json.loads(json.dumps(as_json(TABLE)))
    assert rows[0]["gain"] == {"mean": 3.0, "std": 7**0.5, "values": [1.0, 2.0, 6.0]}
    assert rows[2] == {"method": "none", "gain": None, "seconds": None}


def test_the_screen_shows_what_markdown_shows() -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(on_screen(TABLE))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "a|b_c      +3.0 ± 2.6       12" in shown
