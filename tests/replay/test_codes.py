"""Codes of features, their error, and their rows in a file."""

import numpy as np
import pytest
import torch

from segdistill.replay.codes import Row, decode, encode, total_bytes


def test_eight_bits_by_hand() -> None:
    # The map spans -1 .. 50: a scale of 51 / 255 = 0.2, so 0 has code 5, and 9.05 is 50.25 scales above the least.
    codes, maps = encode(torch.tensor([[[[-1.0, 0.0], [9.05, 50.0]]]]), "int8")
    assert codes.tolist() == [[[[0, 5], [50, 255]]]]
    torch.testing.assert_close(maps, torch.tensor([[[0.2], [-1.0]]]))
    torch.testing.assert_close(decode(codes, maps), torch.tensor([[[[-1.0, 0.0], [9.0, 50.0]]]]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 5, 6, 7), (3, 4, 5), (3, 8)])
def test_the_error_is_at_most_half_a_scale(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    feature = 10 * torch.randn(shape) + 100 * torch.randn(
        shape[0], *([shape[1]] if len(shape) == 4 else [1]), *[1] * (len(shape) - 2)
    )
    codes, maps = encode(feature, "int8")
    dims = {4: (2, 3), 3: (2,), 2: (1,)}[len(shape)]
    bound = (feature.amax(dims, keepdim=True) - feature.amin(dims, keepdim=True)) / 255 / 2
    error = (decode(codes, maps) - feature).abs()
    assert (error <= bound * (1 + 1e-3) + 1e-4).all()
    assert (error.amax(dims, keepdim=True) > 0.5 * bound).all()  # each map has its scale, and uses all of it


def test_a_constant_map_is_exact() -> None:
    feature = torch.tensor([3.7, -1e-3]).view(1, 2, 1, 1).expand(1, 2, 3, 3)
    assert torch.equal(decode(*encode(feature, "int8")), feature)


def test_float16_keeps_large_values_and_relative_precision() -> None:
    feature = torch.tensor([[[[1e6, -3.0, 12345.0, 0.0]]]])  # 1e6 has no float16
    decoded = decode(*encode(feature, "float16"))
    torch.testing.assert_close(decoded, feature, rtol=2e-3, atol=0.1)
    assert decode(*encode(torch.zeros(1, 2, 3, 3), "float16")).abs().max() == 0


@pytest.mark.parametrize("kind", ["int8", "float16"])
@pytest.mark.parametrize("shape", [(5, 3, 3), (4, 5), (8,)])
def test_a_row_holds_codes_and_scales(kind, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    feature = torch.randn(2, *shape)
    row = Row(shape, kind)
    packed = row.packed(feature)
    assert [len(each) for each in packed] == [row.bytes] * 2
    codes, maps = encode(feature, kind)
    unpacked = [row.unpacked(np.array(each)) for each in packed]
    assert torch.equal(torch.stack([each[0] for each in unpacked]), codes)
    assert torch.equal(torch.stack([each[1] for each in unpacked]), maps)


def test_sizes_by_hand() -> None:
    # 19 maps: scales and offsets of 8 bytes each, one byte a position, 4 bytes of checksum
    assert Row((19, 64, 128), "int8").bytes == 19 * 8 + 19 * 64 * 128 + 4
    assert Row((1000,), "float16").bytes == 8 + 2 * 1000 + 4
    assert total_bytes([(19, 64, 128), (1000,)], "int8", 10) == 10 * (19 * 8 + 19 * 64 * 128 + 4 + 8 + 1000 + 4)


def test_a_damaged_row_is_found_at_any_byte() -> None:
    row = Row((2, 2, 2), "int8")
    (packed,) = row.packed(torch.randn(1, 2, 2, 2))
    assert row.unpacked(np.array(packed)) is not None
    for place in range(row.bytes):
        damaged = np.array(packed)
        damaged[place] ^= 1
        assert row.unpacked(damaged) is None


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("kind", ["int8", "float16"])
def test_a_value_that_is_not_finite_is_an_error(bad: float, kind) -> None:
    feature = torch.zeros(1, 2, 2, 2)
    feature[0, 1, 0, 1] = bad
    with pytest.raises(ValueError, match="not finite"):
        Row((2, 2, 2), kind).packed(feature)
