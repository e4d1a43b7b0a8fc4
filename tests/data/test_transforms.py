import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors

from segdistill.data import denormalize, evaluation_transform, training_transform
from segdistill.data.transforms import MEAN, SCALES, STD, RandomScaleCrop
from segdistill.errors import UserError


def coded(height: int, width: int) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """Blocks of 8 x 8 pixels; label l = 0..10 has the color 20 l in every channel."""
    rows, columns = torch.arange(height) // 8, torch.arange(width) // 8
    labels = ((rows[:, None] * 3 + columns) % 11).to(torch.uint8)
    return tv_tensors.Image((labels * 20).expand(3, -1, -1).contiguous()), tv_tensors.Mask(labels)


def test_scales_are_the_protocols() -> None:
    assert pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2]) == SCALES


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("axis", [0, 1])
def test_image_and_labels_stay_together(seed: int, axis: int) -> None:
    """On a ramp whose brightness is its label, nearest and bilinear differ by less than a source pixel."""
    ramp = torch.arange(200, dtype=torch.uint8).expand(200, -1)
    ramp = (ramp.T if axis else ramp).contiguous()
    torch.manual_seed(seed)
    transform = training_transform((64, 80))
    images, labels = transform(tv_tensors.Image(ramp.expand(3, -1, -1)), tv_tensors.Mask(ramp))
    assert (images.shape, images.dtype) == ((3, 64, 80), torch.float32)
    assert (labels.shape, labels.dtype) == ((64, 80), torch.int64)
    off = denormalize(images)[0].long() - labels
    assert off.abs().max() <= 1
    assert off.float().mean().abs() <= 0.55  # halving takes the second of two labels, the mean of two pixels


@pytest.mark.parametrize("scale", [0.6, 0.7, 0.9, 1.3, 1.7])
def test_labels_are_not_shifted_against_their_image(scale: float) -> None:
    """On a ramp of slope 2, brightness minus label is twice the shift in source pixels: by corners 0.25 to 0.83."""
    ramp = (torch.arange(100, dtype=torch.uint8) * 2).expand(100, -1).contiguous()
    torch.manual_seed(0)
    crop = RandomScaleCrop((48, 48), (scale,))
    off = []
    for _ in range(60):
        image, labels = crop(tv_tensors.Image(ramp.expand(3, -1, -1).contiguous()), tv_tensors.Mask(ramp))
        off.append((image[0].float() - labels)[:, 2:-2].mean())
    assert torch.stack(off).mean().abs() / 2 < 0.2  # of it, 8-bit rounding of the image is up to 0.17


def test_exact_at_scale_one() -> None:
    torch.manual_seed(0)
    image, labels = RandomScaleCrop((40, 48), scales=(1.0,))(*coded(96, 160))
    assert torch.equal(image, (labels * 20).expand(3, -1, -1))
    assert labels.unique().numel() > 5


def test_doubled_block_by_block() -> None:
    torch.manual_seed(1)
    _, labels = RandomScaleCrop((32, 32), scales=(2.0,))(*coded(96, 160))
    assert torch.equal(labels[::2, ::2].repeat_interleave(2, 0).repeat_interleave(2, 1), labels)
    assert labels[::2, ::2].unique().numel() > 1


def test_padding_is_right_and_bottom_mean_and_void() -> None:
    image, labels = RandomScaleCrop((40, 50), scales=(0.5,))(*coded(48, 64))
    assert (labels[24:] == 255).all()
    assert (labels[:, 32:] == 255).all()
    assert (labels[:24, :32] != 255).all()
    padded = image[:, labels == 255].unique(dim=1).squeeze(1)
    assert padded.tolist() == [124, 116, 104]
    floats = evaluation_transform()(image, labels)[0][:, labels == 255]
    assert floats.abs().max() < 0.01  # the mean, up to 8-bit rounding


def test_pads_one_side_and_crops_the_other() -> None:
    torch.manual_seed(0)
    tops = set()
    for _ in range(30):
        _, labels = RandomScaleCrop((20, 100), scales=(1.0,))(*coded(48, 64))
        assert (labels[:, 64:] == 255).all()
        assert (labels[:, :64] != 255).all()
        tops.add(tuple(labels[:, 0].tolist()))
    assert len(tops) > 5


def test_every_window_and_scale_is_drawn() -> None:
    torch.manual_seed(0)
    crop = RandomScaleCrop((4, 4), scales=(1.0, 2.0))
    drawn = {(*p["start"], *p["window"]) for p in (crop.make_params([coded(5, 6)[1]]) for _ in range(600))}
    assert drawn == {(y, x, 4, 4) for y in range(2) for x in range(3)} | {
        (y, x, 2, 2) for y in range(4) for x in range(5)
    }


@pytest.mark.parametrize("size", [(96, 160), (160, 96)])
def test_scales_are_relative_to_a_short_side_if_one_is_given(size: tuple[int, int]) -> None:
    for short_side, scale, factor in ((48, 1.0, 0.5), (48, 2.0, 1.0), (192, 0.5, 1.0), (24, 1.0, 0.25)):
        outs = []
        for transform in (
            RandomScaleCrop((20, 30), scales=(scale,), short_side=short_side),
            RandomScaleCrop((20, 30), scales=(factor,)),
        ):
            torch.manual_seed(3)
            outs.append(transform(*coded(*size)))
        assert all(torch.equal(a, b) for a, b in zip(*outs, strict=True))


def test_a_share_of_the_crops_is_blurred_by_at_most_a_pixel() -> None:
    image = torch.zeros(3, 17, 17, dtype=torch.uint8)
    image[:, 8, 8] = 250
    labels = torch.arange(17, dtype=torch.uint8).expand(17, -1).contiguous()
    images, masks = tv_tensors.Image(image), tv_tensors.Mask(labels)
    transform = training_transform((17, 17), scales=(1.0,), blur=0.5)
    torch.manual_seed(0)
    peaks = []
    for _ in range(300):
        out, out_labels = transform(images, masks)
        assert set(out_labels.unique().tolist()) == set(range(17))
        red = denormalize(out)[0]
        assert torch.equal(red, red.flip(0))  # symmetric around the center
        assert abs(int(red.sum()) - 250) <= 12  # of 49 rounded pixels
        peaks.append(int(red[8, 8]))
    blurred = [peak for peak in peaks if peak < 250]
    assert 80 < len(blurred) < 150  # a standard deviation below 0.2 pixels, in a fifth of them, changes nothing
    assert 39 <= min(blurred) < 45  # 250 / (2 pi) at a standard deviation of one pixel
    assert len(set(blurred)) > 30


def test_nothing_is_blurred_by_default() -> None:
    assert [type(each).__name__ for each in training_transform((8, 8)).transforms[:2]] == [
        "RandomScaleCrop",
        "RandomHorizontalFlip",
    ]
    assert "GaussianBlur" not in str(training_transform((8, 8)))


def test_flips_half_of_the_time() -> None:
    torch.manual_seed(0)
    transform = training_transform((16, 16), scales=(1.0,))
    image, labels = coded(16, 16)
    flipped = 0
    for _ in range(200):
        _, out = transform(image, labels)
        assert torch.equal(out, labels.long()) or torch.equal(out, labels.long().flip(1))
        flipped += torch.equal(out, labels.long().flip(1))
    assert 70 < flipped < 130


def test_normalization_by_hand() -> None:
    image = tv_tensors.Image(torch.tensor([255, 0, 51], dtype=torch.uint8).view(3, 1, 1))
    labels = tv_tensors.Mask(torch.tensor([[255]], dtype=torch.uint8))
    out, out_labels = evaluation_transform()(image, labels)
    expected = [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    assert out.flatten().tolist() == pytest.approx(expected, rel=1e-5)
    assert out_labels.tolist() == [[255]]  # a label is no brightness
    assert out_labels.dtype == torch.int64
    assert type(out) is type(out_labels) is Tensor


def test_denormalize_inverts() -> None:
    image, labels = coded(16, 24)
    assert torch.equal(denormalize(evaluation_transform()(image, labels)[0]), image)
    batch = torch.zeros(2, 3, 1, 1)
    assert denormalize(batch)[1].flatten().tolist() == [round(255 * value) for value in MEAN]
    assert len(STD) == 3


def test_bad_arguments() -> None:
    with pytest.raises(UserError, match="at least 1x1 pixels, got 0x5"):
        RandomScaleCrop((0, 5))
    with pytest.raises(UserError, match=r"factors > 0, got \[0\]"):
        RandomScaleCrop((5, 5), scales=(0,))
    with pytest.raises(UserError, match="short_side must be at least 1 pixel, got 0"):
        RandomScaleCrop((5, 5), short_side=0)
