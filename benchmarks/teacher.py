"""The teacher's forward pass as it is used, relative to the same network in eager mode."""

import torch
from torch import Tensor, nn

from benchmarks.timing import Figure, in_turns, ratio
from segdistill import models
from segdistill.speed.form import FORMS, Form
from segdistill.speed.measuring import fastest, seconds_of

NETWORKS = ("deeplabv3_resnet101", "deeplabv3_mobilenetv2", "deeplabv3plus_resnet18", "segformer_b0")


def fastest_form(teacher: nn.Module, images: Tensor, rounds: int) -> Form:
    """Return the form in float32 that a run would choose (segdistill.training.forms)."""
    networks = {form: form.of(teacher, images[:1]) for form in FORMS}
    with torch.no_grad():
        passes = {form: (lambda network=network: network(images)) for form, network in networks.items()}
        return fastest(seconds_of(passes, images.device, rounds=rounds), Form(), gain=1.0)


def relative_times(images: Tensor, rounds: int, device: str, classes: int = 19) -> dict[str, Figure]:
    """Return the time of each network as it is used, over that of the plain network.

    Raises:
        RuntimeError: If the two disagree on the class of more than 0.1 % of the positions.
    """
    figures = {}
    for name in NETWORKS:
        torch.manual_seed(0)
        plain = models.build(name, classes).to(device).eval().requires_grad_(False)
        form = fastest_form(plain, images, rounds)
        print(f"{name} runs with {form}", flush=True)
        with torch.no_grad():
            used = form.of(plain, images[:1])
            same = (plain(images).logits.argmax(1) == used(images).logits.argmax(1)).float().mean()
            if same < 0.999:
                raise RuntimeError(f"{name} as used gives the same class at {same:.2%} of the positions only")
            sides = {"plain": lambda plain=plain: plain(images), "used": lambda used=used: used(images)}
            times = in_turns(sides, rounds, device)
        figures[name] = ratio(times["used"], times["plain"])
    return figures
