"""Places of sampled positions in a picture."""

from segdistill.explain.write import centers


def test_centers_by_hand() -> None:
    assert centers([0, 5], (2, 3), (8, 18)) == [(2.0, 3.0), (6.0, 15.0)]
