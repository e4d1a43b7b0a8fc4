"""Parts of messages: the name that is suggested for one that is not there, and lists that are not too long."""

import pytest

from segdistill.errors import few, first_line, nearest, unknown

KEYS = ("seed", "train", "train.iterations", "train.batch_size", "train.devices", "train.power", "train.floor",
        "teacher.train", "teacher.train.iterations", "data.root")  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train.iteration", "train.iterations"),  # a letter missing
        ("train.itreations", "train.iterations"),  # two that changed places
        ("train.iterraations", "train.iterations"),  # too many
        ("tarin", "train"),
        ("data.rot", "data.root"),
        ("batch_size", "train.batch_size"),  # without its section, or with a slip besides
        ("batchsize", "train.batch_size"),
        ("iterations", "train.iterations"),  # the student's before the teacher's
        ("train.epochs", None),  # nothing in common with devices but the section
        ("train.steps", None),
        ("x", None),
        ("learning_rate", None),
    ],
)
def test_what_is_near(name: str, expected: str | None) -> None:
    assert nearest(name, KEYS) == expected


def test_a_name_that_goes_on_is_near() -> None:
    assert nearest("cwd", ["kd", "cwd_logits", "dist"]) == "cwd_logits"
    assert nearest("kd", ["cwd", "dist"]) is None


def test_where_nothing_is_near_all_are_shown() -> None:
    assert str(unknown("split", "holdout", ["val", "train"])) == "unknown split 'holdout'; there are: train, val"
    assert str(unknown("split", "vall", ["val", "train"])) == "unknown split 'vall'; did you mean 'val'?"


def test_the_first_line_with_text() -> None:
    assert first_line(ValueError("\n  \nshape\nmore")) == "shape"
    assert first_line(ValueError("\n")) == first_line(ValueError()) == "ValueError"


@pytest.mark.parametrize(
    ("names", "by", "expected"),
    [("", ", ", ""), ("ab", ", ", "a, b"), ("abc", ", ", "a, b and 1 more"), ("abcd", "; ", "a; b; and 2 more")],
)
def test_a_long_list_ends_with_the_number_that_is_left(names: str, by: str, expected: str) -> None:
    assert few(names, 2, by) == expected
