"""Reading of recorded answers, and what is found when they or the crops have changed."""

import pickle

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from segdistill.errors import UserError
from segdistill.replay.answers import TOLERANCE, Answers, mark
from segdistill.replay.folder import RecordFolder


def test_each_crop_has_its_answers(folder: RecordFolder, features: dict[str, torch.Tensor]) -> None:
    answers = folder.answers(["stage4:pre", "logits"])
    batch = [answers.read(row) for row in (5, 0, 3)]
    decoded = answers.decoded([torch.stack(column) for column in zip(*batch, strict=True)])
    assert list(decoded) == ["stage4:pre", "logits"]
    for name, feature in features.items():
        expected = feature.flatten(0, 1)[[5, 0, 3]]
        torch.testing.assert_close(decoded[name], expected, rtol=0, atol=0.02)


def test_a_crop_on_a_gpu_is_marked_on_the_cpu() -> None:
    """With ``data.cache=device`` the crops are cut on the GPU; the marks are in a file."""
    with FakeTensorMode():
        assert mark(torch.empty(3, 32, 48, device="cuda")).device == torch.device("cpu")


def test_one_feature_can_be_read_without_the_others(folder: RecordFolder) -> None:
    assert len(folder.answers(["logits"]).read(0)) == 2


def test_answers_travel_to_loader_processes(folder: RecordFolder) -> None:
    answers = folder.answers(["logits"])
    answers.read(0)
    copy: Answers = pickle.loads(pickle.dumps(answers))
    assert torch.equal(copy.read(4)[0], answers.read(4)[0])


def test_a_damaged_answer_is_found(folder: RecordFolder) -> None:
    answers = folder.answers(["logits"])
    size = answers.rows["logits"].bytes
    with folder.file("logits").open("r+b") as file:
        file.seek(4 * size + size // 2)
        file.write(b"\x55\xaa")
    answers = folder.answers(["logits"])
    answers.read(3)
    with pytest.raises(UserError, match=r"logits.answers is damaged; delete the folder"):
        answers.read(4)


def test_another_crop_is_found(folder: RecordFolder, crops: torch.Tensor) -> None:
    answers = folder.answers(["logits"])
    answers.check_crop(3, crops[1, 1], "street")
    answers.check_crop(3, crops[1, 1] + TOLERANCE / 5, "street")  # rounding of another library or machine
    for other in (crops[1, 0], crops[1, 1].flip(-1), crops[1, 1].roll(1, -2), crops[1, 1] + 0.02):
        with pytest.raises(UserError, match="a crop of image 'street' is not the one"):
            answers.check_crop(3, other, "street")


def test_marks_tell_a_mirrored_gradient() -> None:
    # a map that is symmetric in all but its direction
    image = torch.linspace(-1, 1, 64).expand(3, 32, 64)
    assert (mark(image).float() - mark(image.flip(-1)).float()).abs().min() > TOLERANCE
