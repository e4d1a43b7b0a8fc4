"""Masks and noise: Af-DCD, MasKD, FreeKD and the denoising steps of DiffKD."""

from types import SimpleNamespace

import torch
from torch import Tensor, nn

from tests.losses.reference.case import Case
from tests.losses.reference.inputs import Tensors, features, logits, normal, pair, with_weights
from tests.losses.reference.release import Release
from tests.losses.reference.repositories import AF_DCD, FREE_KD, MASKD, SOTA


def af_dcd(release: Release, x: Tensors) -> Tensors:
    loss = release("losses/ocmgd.py").OmniContrastiveFeatureLoss(16, 24, 0.07, 4, 2, (2, 2), rand_mask=False)
    parts = dict(zip(("fd", "ctr"), with_weights(loss, x)(*pair(x, "features")), strict=True))
    gradients = {
        f"grad_student_features_{name}": torch.autograd.grad(part, x["student_features"], retain_graph=True)[0]
        for name, part in parts.items()
    }
    return {"loss": sum(parts.values()), **{f"loss_{name}": part for name, part in parts.items()}, **gradients}


def contrast(release: Release, x: Tensors) -> Tensor:
    loss = release("losses/ocmgd.py").OmniContrastiveFeatureLoss(24, 24, 0.07, 4, 2, (2, 2))
    return loss.get_omni_contrastive_loss(*pair(x, "features"))


def maskd(release: Release, x: Tensors) -> Tensors:
    module = release("segmentation/losses/maskd.py")
    loss = module.MasKDLoss.__new__(module.MasKDLoss)  # it would read the tokens from a file
    nn.Module.__init__(loss)
    loss.mask_module = module.MaskModule(5, 8)
    loss.mask_module.mask_token.data = x["mask_token"]
    masked, overlap = loss.mask_module(x["teacher_logits"])
    (gradient,) = torch.autograd.grad(overlap, loss.mask_module.mask_token)
    loss.requires_grad_(False)
    first_stage = {"stage1_masked_logits": masked, "stage1_dice_loss": overlap, "grad_mask_token_dice": gradient}
    return {"loss": loss(*pair(x, "logits")), **first_stage}


def freekd(release: Release, x: Tensors) -> Tensors:
    keep = SimpleNamespace(register_module=lambda: lambda module: module)
    module = release("mmrazor/models/losses/freekd.py", stubs={"mmrazor.models.builder": SimpleNamespace(LOSSES=keep)})
    loss = module.FreeKDLoss([16], num_tokens=6, weight_mask=False)
    loss.mask_modules[0].mask_token.data = x["mask_token"]
    output, overlap = loss.mask_modules[0](x["teacher_features"])
    low, high = loss.xfm(x["teacher_features"])
    bands = {"teacher_yl": low, **{f"teacher_yh{level}": band for level, band in enumerate(high)}}
    return {"loss": loss(*pair(x, "features")), "stage1_output": output, "stage1_dice_loss": overlap, **bands}


def denoising(release: Release, x: Tensors) -> Tensors:
    module = release("lib/models/losses/diffkd/scheduling_ddim.py")
    scheduler = module.DDIMScheduler(num_train_timesteps=1000, clip_sample=False, beta_schedule="linear")
    scheduler.set_timesteps(10)
    steps, maps = scheduler.timesteps[5:], [x["sample"]]
    for step in steps:
        maps.append(scheduler.step(x["model_output"], step, maps[-1], eta=0.0)["prev_sample"])
    table = {"timesteps": steps, "alphas_cumprod": scheduler.alphas_cumprod}
    return {"loss": torch.zeros(()), "prev_samples": torch.stack(maps[1:]), **table}


CASES = [
    Case("af_dcd_full_centremask_case0", AF_DCD, features(), af_dcd),
    Case("af_dcd_contrast_only_case0", AF_DCD, features(24, 24), contrast),
    Case("maskd_seg_case0", MASKD, logits() | {"mask_token": normal(8, 5, scale=0.5)}, maskd),
    Case("freekd_case0", FREE_KD, features(16, 16) | {"mask_token": normal(4, 6, 16, scale=0.5)}, freekd),
    Case("diffkd_ddim_steps", SOTA, {"sample": normal(2, 16, 4, 4), "model_output": normal(2, 16, 4, 4)}, denoising),
]
