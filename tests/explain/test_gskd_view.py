"""GSKD's samples, similarities and descriptors against the loss and by hand."""

import pytest
import torch

from segdistill.explain.gskd_view import gskd_view, resized_like
from segdistill.losses import gskd


@pytest.mark.parametrize(("samples", "stride", "temperature"), [(4, 3, 1.0), (2, 5, 0.2), (3, 99, 1.0)])
def test_the_divergence_of_the_descriptors_is_the_loss(samples: int, stride: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(1, 5, 6, 8, generator=generator), torch.randn(1, 7, 6, 8, generator=generator)
    labels = torch.randint(0, 3, (1, 12, 16), generator=generator)
    labels[labels == 1] = 255
    options = {"samples": samples, "stride": stride, "temperature": temperature}
    view = gskd_view(student, teacher, labels, generator=torch.Generator().manual_seed(5), **options)
    t, s = view.teacher.descriptors, view.student.descriptors
    expected = gskd(student, teacher, labels, generator=torch.Generator().manual_seed(5), **options)
    torch.testing.assert_close((t * (t / s).log()).sum(dim=1).mean(), expected)


def test_by_hand() -> None:
    student = torch.tensor([[3.0, 0.0, 1.0], [4.0, 2.0, 0.0]]).view(1, 2, 1, 3)
    labels = torch.tensor([[[7, 255, 2]]])
    view = gskd_view(student, student, labels, samples=2, stride=4)
    assert view.places.tolist() == [2, 2, 0, 0]
    assert view.classes.tolist() == [2, 2, 7, 7]
    expected = torch.tensor([[1, 1, 0.6, 0.6], [1, 1, 0.6, 0.6], [0.6, 0.6, 1, 1], [0.6, 0.6, 1, 1]])
    torch.testing.assert_close(view.student.similarities, expected)
    torch.testing.assert_close(view.student.shuffled.sort(dim=1).values, expected.sort(dim=1).values)
    e, f = torch.tensor(1.0).exp(), torch.tensor(0.6).exp()
    torch.testing.assert_close(view.teacher.descriptors.unique(), torch.stack([f, e]) / (8 * (e + f)))


def test_no_valid_position_is_empty() -> None:
    view = gskd_view(torch.ones(1, 2, 2, 2), torch.ones(1, 2, 2, 2), torch.full((1, 2, 2), 255))
    assert view.places.shape == (0,)


def test_other_sizes() -> None:
    with pytest.raises(ValueError, match="same N, H and W"):
        gskd_view(torch.ones(1, 2, 2, 2), torch.ones(1, 2, 4, 4), torch.zeros(1, 2, 2, dtype=torch.long))
    assert resized_like(torch.ones(1, 2, 2, 2), torch.ones(1, 3, 4, 5)).shape == (1, 2, 4, 5)
