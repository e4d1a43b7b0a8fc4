"""Class scores of whole images, against the passes written out."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill import losses, models
from segdistill.distillation.distiller import Distiller
from segdistill.evaluation.class_scores import class_scores
from segdistill.evaluation.scoring import predict
from segdistill.models import wrap
from segdistill.outputs import SegOutput, aligns_corners
from segdistill.recipes.schema import Evaluation


class Half(nn.Module):
    """Gives logits at stride 2 that depend on the position, so that a mirrored image has other scores."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        images.mul_(1.0)  # in place: each pass must get a copy
        return self.conv(images)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return Half().eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 12, 20, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("aligns", [False, True])
def test_one_pass_upsamples_the_logits_as_the_network_does(network: nn.Module, images: Tensor, aligns: bool) -> None:
    network.align_corners = aligns
    expected = F.interpolate(network(images), (24, 40), mode="bilinear", align_corners=aligns)
    torch.testing.assert_close(class_scores(network, images, (24, 40)), expected, rtol=0, atol=0)
    assert torch.equal(predict(network, images, (24, 40)), expected.argmax(1))


def test_scales_and_mirrored_images_add_probabilities(network: nn.Module, images: Tensor) -> None:
    expected = torch.zeros(2, 4, 12, 20)
    for scale in (0.5, 1.0, 1.5):
        size = (round(12 * scale), round(20 * scale))
        resized = F.interpolate(images, size, mode="bilinear", antialias=scale < 1) if scale != 1 else images
        for mirrored in (False, True):
            logits = network.conv(resized.flip(3) if mirrored else resized)
            shares = F.interpolate(logits, (12, 20), mode="bilinear", align_corners=False).softmax(1)
            expected += shares.flip(3) if mirrored else shares
    scores = class_scores(network, images, (12, 20), Evaluation(scales=(0.5, 1.0, 1.5), flip=True))
    torch.testing.assert_close(scores, expected)


def test_windows_average_where_they_overlap(network: nn.Module, images: Tensor) -> None:
    total, count = torch.zeros(2, 4, 12, 20), torch.zeros(20)
    for left in (0, 8):  # 12 wide, one every 8 columns
        logits = network.conv(images[..., left : left + 12])
        total[..., left : left + 12] += F.interpolate(logits, (12, 12), mode="bilinear")
        count[left : left + 12] += 1
    scores = class_scores(network, images, (12, 20), Evaluation(window=(12, 12)))
    torch.testing.assert_close(scores, total / count)
    assert count.tolist() == [1] * 8 + [2] * 4 + [1] * 8


def test_windows_side_by_side_are_scored_one_by_one(network: nn.Module, images: Tensor) -> None:
    halves = [F.interpolate(network.conv(half), (12, 10), mode="bilinear") for half in images.split(10, dim=3)]
    scores = class_scores(network, images, (12, 20), Evaluation(window=(12, 10), stride=(12, 10)))
    torch.testing.assert_close(scores, torch.cat(halves, dim=3), rtol=0, atol=0)


def test_a_stride_down_and_one_to_the_right(network: nn.Module, images: Tensor) -> None:
    seen = []
    network.conv.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0][0, 0, 0, 0].item()))
    class_scores(network, images, (12, 20), Evaluation(window=(6, 8), stride=(5, 8)))
    assert seen == [images[0, 0, top, left].item() for top in (0, 5, 6) for left in (0, 8, 12)]


def test_a_window_as_large_as_the_image_is_the_whole_image(network: nn.Module, images: Tensor) -> None:
    whole = class_scores(network, images, (12, 20))
    assert torch.equal(class_scores(network, images, (12, 20), Evaluation(window=(12, 64))), whole)


def test_the_last_window_ends_at_the_border(network: nn.Module) -> None:
    images = torch.randn(1, 3, 4, 23)
    seen = []
    network.conv.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0][0, 0, 0, -1].item()))
    class_scores(network, images, (4, 23), Evaluation(window=(4, 9)))
    assert seen == [images[0, 0, 0, end - 1].item() for end in (9, 15, 21, 23)]


def test_who_aligns_corners() -> None:
    assert aligns_corners(models.build("deeplabv3_resnet18", 3))  # CIRKD's code
    assert aligns_corners(models.build("unet/tu-test_resnet", 3))  # smp
    assert not aligns_corners(wrap(Half()))  # torchvision, transformers
    assert aligns_corners(wrap(Half(), align_corners=True))
    own = Half()
    own.align_corners = True
    assert aligns_corners(wrap(own))
    assert not aligns_corners(models.build("unet/tu-test_resnet", 3, align_corners=False))
    converted = models.build("unet/tu-test_resnet", 3, mean=(0.5, 0.5, 0.5), align_corners=False)
    assert not aligns_corners(converted)


class Stride2(Half):
    def forward(self, images: Tensor) -> SegOutput:
        return SegOutput(self.conv(images))


@pytest.mark.parametrize("aligns", [False, True])
def test_the_task_upsamples_as_the_student_does(images: Tensor, aligns: bool) -> None:
    torch.manual_seed(0)
    student = Stride2()
    student.align_corners = aligns
    labels = torch.randint(4, (2, 12, 20), generator=torch.Generator().manual_seed(2))
    expected = F.cross_entropy(
        F.interpolate(student.conv(images), (12, 20), mode="bilinear", align_corners=aligns), labels
    )
    own = Distiller(student, None)
    torch.testing.assert_close(own(images, labels).total, expected)
    by_name = Distiller(student, Stride2(), "kd")
    assert by_name.terms["task"].loss.align_corners is aligns
    assert isinstance(by_name.terms["task"].loss, losses.CrossEntropy)
