"""CIRKD's memory terms."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.losses.reference.case import Case
from tests.losses.reference.inputs import Tensors, features, labels, normal, pair, unit
from tests.losses.reference.release import Release
from tests.losses.reference.repositories import CIRKD


def memory(release: Release, pixels: Tensor, regions: Tensor) -> nn.Module:
    """Build its memory term with these queues, all of whose entries it compares with, and without its projector."""
    loss = release("losses/cirkd_memory.py").StudentSegContrast(
        len(pixels), pixels.shape[1], regions.shape[1], regions.shape[1], pixels.shape[1], 1.0, 0.1, 24, 24, 255
    )
    loss.project_head = nn.Identity()
    loss.teacher_pixel_queue, loss.teacher_segment_queue = pixels.clone(), regions.clone()
    loss.concat_all_gather = lambda x: x
    return loss


def compare(release: Release, x: Tensors, pixels: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
    loss = memory(release, pixels, regions)
    loss._dequeue_and_enqueue = lambda keys, labels: None
    return loss(*pair(x, "features"), x["labels"], x["labels"])


def enqueue(release: Release, x: Tensors) -> Tensors:
    loss = memory(release, torch.zeros(5, 16, 24), torch.zeros(5, 6, 24))
    loss._dequeue_and_enqueue(x["teacher_features_normalised"], x["labels_feature_resolution"])
    after = {"region_queue_after": loss.teacher_segment_queue, "pointer_after": loss.segment_queue_ptr}
    return {"loss": torch.zeros(()), **after}


INPUTS = features(24, 24) | {"labels": labels(2, 64, 96)}
ONE_ENTRY = torch.zeros(5, 1, 24)
CASES = [
    Case(name, CIRKD, inputs, compute, torch.float32)
    for name, inputs, compute in (
        (
            "cirkd_memory_pixel_case1",
            INPUTS | {"pixel_queue": unit(5, 16, 24)},
            lambda release, x: compare(release, x, x["pixel_queue"], ONE_ENTRY)[0],
        ),
        (
            "cirkd_memory_region_case1",
            INPUTS | {"region_queue": unit(5, 6, 24)},
            lambda release, x: compare(release, x, ONE_ENTRY, x["region_queue"])[1],
        ),
        (
            "cirkd_region_enqueue_case1",
            {
                "teacher_features_normalised": lambda g: functional.normalize(normal(2, 24, 8, 12)(g), dim=1),
                "labels_feature_resolution": labels(2, 8, 12),
            },
            enqueue,
        ),
    )
]
