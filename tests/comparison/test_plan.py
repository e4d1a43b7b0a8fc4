"""The plan of a comparison: rows that are one row under two names."""

from segdistill.comparison.plan import plan, repeated_rows


def test_rows_with_the_same_settings_are_named() -> None:
    methods = "kd,gskd,correct=gskd:terms.gskd.labels=teacher_correct,valid=gskd:terms.gskd.labels=valid"
    assert repeated_rows(plan("quickstart", [], methods, "0,1")) == [
        "the rows gskd and correct have the same settings, so their difference is noise",
    ]
    assert repeated_rows(plan("quickstart", [], "kd,gskd", "0,1")) == []


def test_the_terms_count_and_the_name_of_the_method_does_not() -> None:
    assert len(repeated_rows(plan("quickstart", [], "kd,mine=none:terms.kd={}", "0"))) == 1
