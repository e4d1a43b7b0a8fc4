"""What every loss promises. Each loss brings its rows, CASES, in its own test file.

    pytest tests/losses/test_contract.py --device cuda --dtype bfloat16 --compile inductor

runs the same tests on another device, with inputs of another type, with another backend of torch.compile.
"""

import copy
import inspect
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from segdistill import losses
from segdistill.catalogue.cards import LOSS_CARDS
from tests.losses.case import Case, cases, name_of, run

HALF, QUARTER = 8, 4  # columns of the labels, and of the maps, in the left half of the image


@pytest.fixture(params=cases(), ids=name_of)
def case(request: pytest.FixtureRequest, where: dict[str, Any]) -> Case:
    return replace(request.param, **where)


def test_table_catalogue_and_public_names_agree() -> None:
    public = {name: getattr(losses, name) for name in losses.__all__}
    classes = {name for name, value in public.items() if inspect.isclass(value)}
    modules = classes - {"Loss", "SelfTaught"}  # for losses of one's own
    functions = public.keys() - classes
    assert modules == {card.module for card in LOSS_CARDS}
    parts = {"sub_image_descriptor_kl"}  # of gskd
    assert functions == {card.name for card in LOSS_CARDS if not card.module_only} | parts
    assert {case.module for case in cases()} == {card.module for card in LOSS_CARDS if card.teacher}


def test_only_the_student_learns(case: Case) -> None:
    student, teacher, labels = case.inputs()
    value = run(case.build(), student, teacher, labels)
    value.backward()
    assert value.shape == ()
    assert value.isfinite()
    assert value != 0 if case.any_sign else value > 0
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


def test_zero_when_student_equals_teacher(case: Case) -> None:
    student, _, labels = case.inputs()
    value = run(case.build(), student, student.detach().clone(), labels).item()
    if case.nonzero_at_equality:
        assert abs(value) > 1e-3, "the row may claim zero"
    else:
        assert value == pytest.approx(0, abs=1e-5)


def test_void_pixels_count_nowhere(case: Case) -> None:
    student, teacher, labels = case.inputs()
    labels[..., :HALF] = 255
    value = run(case.build(), student, teacher, labels)
    value.backward()
    assert student.grad[..., :QUARTER].abs().sum() == 0
    assert student.grad[..., QUARTER:].abs().sum() > 0
    if case.sees_void:
        return
    other = student.detach().clone()
    other[..., :QUARTER] = other[..., :QUARTER].flip(0)
    torch.testing.assert_close(run(case.build(), other, teacher, labels), value)
    if case.draws:
        return
    cropped = (student[..., QUARTER:], teacher[..., QUARTER:], labels[..., HALF:])
    torch.testing.assert_close(run(case.build(), *cropped), value)


def test_ignore_index_is_what_it_says(case: Case) -> None:
    student, teacher, labels = case.inputs()
    labels[..., :HALF] = 255
    labels[labels == 2] = 255
    other = labels.where(labels != 255, 2)  # within the classes
    torch.testing.assert_close(
        run(case.build(ignore_index=2), student, teacher, other), run(case.build(), student, teacher, labels)
    )


def test_all_void_is_zero_and_still_backpropagates(case: Case) -> None:
    student, teacher, labels = case.inputs()
    value = run(case.build(), student, teacher, torch.full_like(labels, 255))
    value.backward()
    assert value == 0
    assert student.grad.abs().sum() == 0


def test_a_void_image_takes_nothing_from_the_others(case: Case) -> None:
    student, teacher, labels = case.inputs()
    labels[0] = 255
    value = run(case.build(), student, teacher, labels)
    value.backward()
    assert student.grad[0].abs().sum() == 0
    assert student.grad[1].abs().sum() > 0
    if case.sees_void or case.draws:
        return
    torch.testing.assert_close(value, run(case.build(), student[1:], teacher[1:], labels[1:]))


def test_mismatched_shapes_are_an_error_not_a_broadcast(case: Case) -> None:
    student, teacher, labels = case.inputs()
    loss = case.build()
    for wrong in (teacher[:1], teacher[..., :1], teacher[:, :, :1], teacher[0], teacher.flatten(2)):
        with pytest.raises(ValueError, match=rf"student \({case.images}, 6, 8, 8\).*teacher \({wrong.shape[0]}, "):
            run(loss, student, wrong, labels)
    with pytest.raises(ValueError, match=rf"labels \(1, 16, 16\) and student \({case.images}, 6, 8, 8\)"):
        run(loss, student, teacher, labels[:1])


def test_channels_may_differ_only_where_the_class_says_so(case: Case) -> None:
    student, teacher, labels = case.inputs()
    fewer = teacher[:, :1]  # one channel would broadcast
    if case.three.keys() <= case.kwargs.keys():  # a connector of its own, to any width
        assert run(case.build(**case.three), student, teacher[:, :3], labels).isfinite()
        with pytest.raises(ValueError, match=r"teacher_channels=6.*\(2, 6, 8, 8\).*\(2, 1, 8, 8\)"):
            run(case.build(), student, fewer, labels)
    elif case.build().equal_channels:
        with pytest.raises(ValueError, match=r"\(2, 6, 8, 8\).*\(2, 1, 8, 8\)"):
            run(case.build(), student, fewer, labels)
    else:
        assert run(case.build(), student, fewer, labels).isfinite()


def test_labels_may_be_missing_only_where_the_catalogue_says_so(case: Case) -> None:
    student, teacher, labels = case.inputs()
    if case.card.labels == "required" and case.kwargs.get("sampling") != "random":
        with pytest.raises(ValueError, match="needs labels"):
            run(case.build(), student, teacher)
    else:
        everything = run(case.build(), student, teacher, torch.zeros_like(labels))
        torch.testing.assert_close(run(case.build(), student, teacher), everything)


def test_finite_for_large_logits(case: Case) -> None:
    student, teacher, labels = case.inputs()
    large = (student.detach() * 1e3).requires_grad_()
    value = run(case.build(), large, teacher * 1e3, labels)
    value.backward()
    assert value.isfinite()
    assert large.grad.isfinite().all()


def test_autocast_changes_nothing(case: Case) -> None:
    student, teacher, labels = case.inputs(torch.bfloat16)
    with torch.autocast(torch.device(case.device).type, torch.bfloat16):
        value = run(case.build(), student, teacher, labels)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, run(case.build(), student.float(), teacher.float(), labels))


@pytest.mark.parametrize("size", [1.0, 30.0, 1e3])
def test_half_precision_has_the_true_gradient_at_every_loss_scale(case: Case, size: float) -> None:
    student, teacher, labels = (x.detach() for x in case.inputs())
    labels[..., :HALF] = 255
    labels[0, :HALF] = 255
    student, teacher = ((x * size).half() for x in (student, teacher))

    def gradients(dtype: torch.dtype, *scales: float) -> list[Tensor]:
        """Of the value times each scale, with respect to the student's map, or maps, side by side."""
        ours, theirs = ((x, x.flip(1).relu()) if case.maps else (x,) for x in (student.to(dtype), teacher.to(dtype)))
        for x in ours:
            x.requires_grad_()
        loss = case.build()
        packed = (ours, theirs) if case.maps else (*ours, *theirs)
        value = run(loss.loss if case.maps else loss, *packed, labels)
        assert value.isfinite()
        return [torch.cat(torch.autograd.grad(value * scale, ours, retain_graph=True)) for scale in scales]

    (true,) = gradients(torch.float64, 1.0)
    scales = (1.0, 1e4, 2.0**16)  # the last is where a GradScaler begins
    for scale, gradient in zip(scales, gradients(torch.float16, *scales), strict=True):
        expected = true * scale
        # What is beyond float16 is infinite: that is how a GradScaler finds its scale. Nothing else is.
        overflows = gradient.isinf() & (expected.abs() > 0.9 * torch.finfo(torch.float16).max)
        error = (gradient - expected).masked_fill(overflows, 0).abs()
        # What float16 cannot tell from zero, and rounding: a saturated softmax keeps few digits in float32.
        assert error.max() <= 1e-7 + 0.05 * expected.abs().max()


def test_float64_stays_and_agrees_with_finite_differences(case: Case) -> None:
    student, teacher, labels = case.inputs(torch.float64, size=4)
    labels[:, :2] = 255
    value = run(case.build(), student, teacher, labels)
    assert value.dtype == torch.float64
    torch.testing.assert_close(
        run(case.build(), student.float(), teacher.float(), labels), value.float(), rtol=1e-4, atol=1e-6
    )
    later = case.build()
    run(later, student, teacher, labels)  # what the first batch decides is a constant from then on
    assert torch.autograd.gradcheck(lambda x: run(copy.deepcopy(later), x, teacher, labels), student, fast_mode=True)


def test_labels_are_resized_by_nearest(case: Case) -> None:
    student, teacher, labels = case.inputs()
    torch.testing.assert_close(
        run(case.build(), student, teacher, labels), run(case.build(), student, teacher, labels[:, ::2, ::2])
    )


def test_function_and_module_agree(case: Case) -> None:
    if case.card.module_only:
        assert case.card.name not in losses.__all__
        return
    student, teacher, labels = case.inputs()
    by_name = run(case.function, student=student, teacher=teacher, labels=labels, **case.kwargs)
    torch.testing.assert_close(run(case.build(), student, teacher, labels), by_name, rtol=0, atol=0)
    by_name.backward()
    assert teacher.grad is None


def test_state_dict_restores_the_loss(case: Case) -> None:
    student, teacher, labels = case.inputs()
    loss, restored = case.build(), case.build()
    run(loss, student, teacher, labels)  # may change its state
    restored.load_state_dict(copy.deepcopy(loss.state_dict()))
    torch.testing.assert_close(run(restored, student, teacher, labels), run(loss, student, teacher, labels))


def test_compiles_into_one_graph(case: Case) -> None:
    torch.compiler.reset()
    loss, compiled = (case.build(**case.facts) for _ in range(2))
    compiled = torch.compile(compiled, backend=case.backend, fullgraph=True, dynamic=True)
    for size in (8, 10):
        student, teacher, labels = case.inputs(size=size)
        labels[..., :HALF] = 255
        torch.testing.assert_close(run(compiled, student, teacher, labels), run(loss, student, teacher, labels))
