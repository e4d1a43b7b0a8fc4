"""DiffKD: the denoising of the released code, the value written out, who learns from what, void, its models."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.losses import DiffKD
from segdistill.losses._diffusion import LEFT, denoised
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case(
        "DiffKD",
        {"student_channels": 6, "teacher_channels": 6, "latent_channels": 3},
        nonzero_at_equality="its layers stand between student and teacher",
        sees_void="convolutions see across the edge, batch statistics and noise are of all positions",
    ),
    Case(
        "DiffKD",
        {"student_channels": 6, "teacher_channels": 6, "steps": 2},
        nonzero_at_equality="its layers stand between student and teacher",
        sees_void="convolutions see across the edge, batch statistics and noise are of all positions",
    ),
]  # rows of the contract test


def build(latent: int | None = None, **more: int) -> DiffKD:
    torch.manual_seed(0)
    sizes = {"student_channels": 4, "teacher_channels": 6, "latent_channels": latent, **more}
    return DiffKD(**sizes, generator=torch.Generator().manual_seed(3))


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    student = torch.randn(2, 4, 5, 7, generator=rng, requires_grad=True)
    return student, torch.randn(2, 6, 5, 7, generator=rng), torch.randint(0, 3, (2, 5, 7), generator=rng)


def literal(
    student: Tensor, teacher: Tensor, labels: Tensor, noise: Tensor, state: dict[str, Tensor], code: bool
) -> Tensor:
    """Return the distance after five steps of DDIM, image by image and position by position."""

    def layer(x: Tensor, name: str, norm: str | None = None) -> Tensor:
        weight = state[f"{name}.weight"]
        x = F.conv2d(x, weight, state.get(f"{name}.bias"), padding=weight.shape[2] // 2)
        return x if norm is None else batch_norm(x, norm)

    def batch_norm(x: Tensor, name: str) -> Tensor:
        return F.batch_norm(x, None, None, state[f"{name}.weight"], state[f"{name}.bias"], training=True)

    def bottleneck(x: Tensor, name: str) -> Tensor:
        y = layer(x, f"{name}.layers.0", f"{name}.layers.1").relu()
        y = layer(y, f"{name}.layers.3", f"{name}.layers.4").relu()
        return x + layer(y, f"{name}.layers.6", f"{name}.layers.7")

    def predicted(x: Tensor, step: int) -> Tensor:
        x = x + state["denoiser.at_step.weight"][step][:, None, None]
        x = bottleneck(bottleneck(x, "denoiser.layers.0"), "denoiser.layers.1")
        return layer(x, "denoiser.layers.2", "denoiser.layers.3")

    valid = labels != 255
    features = layer(student * valid[:, None], "connector")
    adapted = bottleneck(features, "noise_adapter.0").mean(dim=(2, 3), keepdim=True)
    share = layer(adapted, "noise_adapter.2").sigmoid()
    x = share * features + (1 - share) * noise
    kept = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), dim=0)
    for step, following in [(400, 300), (300, 200), (200, 100), (100, 0), (0, None)]:
        guess = predicted(x, step)
        clean = (x - torch.sqrt(1 - kept[step]) * guess) / torch.sqrt(kept[step])
        after = torch.ones(()) if following is None else kept[following]
        x = torch.sqrt(after) * clean + torch.sqrt(1 - after) * guess
    target = layer(teacher, "encoder.0", "encoder.1") if code else teacher
    compared = layer(x, "projector.0", "projector.1")
    errors = [(compared[n, :, i, j] - target[n, :, i, j]).square().mean() for n, i, j in valid.nonzero().tolist()]
    return sum(errors) / len(errors)


@pytest.mark.parametrize("latent", [None, 3])
def test_is_the_equation_taken_literally(latent: int | None) -> None:
    student, teacher, labels = batch(4, 6, size=(5, 7))
    loss = build(latent).double()
    noise = torch.randn(3, latent or 6, 5, 7, generator=torch.Generator().manual_seed(3))
    own = {id(parameter) for parameter in loss.inner_parameters()}
    # Denoiser and autoencoder are constants of the value.
    state = {name: x.detach() if id(x) in own else x for name, x in loss.named_parameters()}
    loss.generator.manual_seed(3)
    same_value_and_gradient(
        lambda: loss(student, teacher, labels),
        lambda: literal(student, teacher, labels, noise, state, latent is not None),
        [student, *(x for x in loss.parameters() if id(x) not in own)],
        relative=1e-8,
    )


def test_golden(golden: Callable[[str], dict[str, Tensor]]) -> None:
    data = golden("diffkd_ddim_steps")
    seen = []

    def predict(maps: Tensor, step: Tensor) -> Tensor:
        seen.append((step.item(), maps))
        return data["model_output"]

    last = denoised(data["sample"], predict, steps=5)
    assert [step for step, _ in seen] == data["timesteps"].tolist()
    after = torch.stack([maps for _, maps in seen[1:]] + [last])
    # The code has the table of variances in float32, here it is in float64.
    torch.testing.assert_close(torch.tensor(LEFT), data["alphas_cumprod"], rtol=1e-6, atol=0)
    torch.testing.assert_close(after, data["prev_samples"], rtol=0, atol=5e-6)


def test_it_takes_out_exactly_the_noise_that_is_predicted() -> None:
    rng = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 1, 3, 4, 4, generator=rng, dtype=torch.float64)
    noisy = LEFT[375] ** 0.5 * clean + (1 - LEFT[375]) ** 0.5 * noise
    torch.testing.assert_close(denoised(noisy, lambda maps, step: noise, steps=4), clean)


@pytest.mark.parametrize("latent", [None, 3])
def test_objective_written_out(latent: int | None) -> None:
    student, teacher, labels = inputs()
    loss = build(latent)
    value = loss.inner_objective(student, teacher, labels)

    code = teacher if latent is None else loss.encoder(teacher)
    rng = torch.Generator().manual_seed(3)
    noise = torch.randn(code.shape, generator=rng)
    steps = torch.randint(1000, (2,), generator=rng)
    noisy = [LEFT[t] ** 0.5 * code[n] + (1 - LEFT[t]) ** 0.5 * noise[n] for n, t in enumerate(steps.tolist())]
    expected = F.mse_loss(loss.denoiser(torch.stack(noisy), steps), noise)
    if latent is not None:
        expected = expected + F.mse_loss(loss.decoder(code), teacher)
    torch.testing.assert_close(value, expected)


def test_the_denoiser_moves_no_code() -> None:
    student, teacher, _ = inputs()
    loss = build(3)
    loss.inner_objective(student, teacher).backward()
    with_both = loss.encoder[0].weight.grad.clone()
    loss.zero_grad()
    F.mse_loss(loss.decoder(loss.encoder(teacher)), teacher).backward()
    torch.testing.assert_close(with_both, loss.encoder[0].weight.grad)


def gradients(latent: int | None, *, value: bool, objective: bool) -> dict[str, Tensor | None]:
    """What one ``backward()`` sends student, teacher and every parameter."""
    student, teacher, labels = inputs()
    teacher.requires_grad_()
    loss = build(latent)
    total = torch.zeros(())
    if value:
        total = total + loss(student, teacher, labels)
    loss.generator.manual_seed(4)
    if objective:
        total = total + loss.inner_objective(student, teacher, labels)
    total.backward()
    found = {name: parameter.grad for name, parameter in loss.named_parameters()}
    return {"student": student.grad, "teacher": teacher.grad, **found}


@pytest.mark.parametrize("latent", [None, 3])
def test_one_backward_serves_both_and_nothing_leaks(latent: int | None) -> None:
    of_value, of_objective, of_both = (
        gradients(latent, value=value, objective=objective)
        for value, objective in ((True, False), (False, True), (True, True))
    )
    own = {"denoiser", *(("encoder", "decoder") if latent else ())}
    for name, both in of_both.items():
        if name == "teacher":
            assert both is None
        elif name.partition(".")[0] in own:
            assert of_value[name] is None
            torch.testing.assert_close(both, of_objective[name])
        else:
            assert of_objective[name] is None
            torch.testing.assert_close(both, of_value[name])
    loss = build(latent)
    ids = {id(parameter) for parameter in loss.inner_parameters()}
    assert {name.partition(".")[0] for name, parameter in loss.named_parameters() if id(parameter) in ids} == own
    assert {id(p) for group in loss.inner_optimizer().param_groups for p in group["params"]} == ids


def test_what_the_student_has_at_void_positions_changes_nothing() -> None:
    student, teacher, labels = inputs()
    labels[:, 2:, :4] = 255
    other = student.detach().masked_fill((labels == 255)[:, None], torch.nan).requires_grad_()
    value = build()(other, teacher, labels)
    torch.testing.assert_close(value, build()(student, teacher, labels), rtol=0, atol=0)
    value.backward()
    assert other.grad.isfinite().all()


def test_its_models_learn_the_teacher() -> None:
    rng = torch.Generator().manual_seed(0)
    # Six channels of which two tell all, so that a code of two is enough.
    teacher = torch.einsum("dc,nchw->ndhw", torch.randn(6, 2, generator=rng), torch.randn(8, 2, 6, 6, generator=rng))
    loss = build(2)
    optimizer = loss.inner_optimizer()
    optimizer.param_groups[0]["lr"] = 0.01  # or it would take a thousand steps
    for _ in range(150):
        optimizer.zero_grad()
        loss.inner_objective(None, teacher).backward()
        optimizer.step()
    with torch.no_grad():
        left = F.mse_loss(loss.decoder(loss.encoder(teacher)), teacher) / teacher.square().mean()
        errors = torch.stack([loss.inner_objective(None, teacher) for _ in range(20)])
    assert left < 0.2
    assert errors.mean() < 0.8  # predicting no noise would leave 1, besides the reconstruction


def test_the_generator_decides_the_noise() -> None:
    student, teacher, _ = inputs()
    loss, again = build(), build()
    first = loss(student, teacher)
    torch.manual_seed(5)
    assert again(student, teacher) == first
    assert loss(student, teacher) != first


def test_errors() -> None:
    with pytest.raises(ValueError, match="latent_channels must be at most teacher_channels=6, got 7"):
        build(7)
    for steps in (0, 501):
        with pytest.raises(ValueError, match=f"steps must be from 1 to 500, got {steps}"):
            build(steps=steps)
    with pytest.raises(ValueError, match="latent_channels must be > 0, got 0"):
        build(0)
    student, teacher, _ = inputs()
    with pytest.raises(ValueError, match=r"student_channels=4 and teacher_channels=6, got student \(2, 3, 5, 7\)"):
        build()(student[:, :3], teacher)


def test_the_rate_of_the_inner_optimizer() -> None:
    (group,) = DiffKD(student_channels=3, teacher_channels=4).inner_optimizer().param_groups
    assert group["lr"] == 1e-3
