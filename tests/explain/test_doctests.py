"""The examples in the docstrings."""

import doctest

import pytest

from segdistill.explain import class_similarity, feature_map, grad_cam, gskd_view


@pytest.mark.parametrize("module", [class_similarity, feature_map, grad_cam, gskd_view], ids=lambda each: each.__name__)
def test_examples(module) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
