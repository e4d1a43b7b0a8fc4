"""Distill a transformers SegFormer into a segmentation-models-pytorch network. Nothing is downloaded."""

import segmentation_models_pytorch as smp
import torch
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from segdistill import Distiller, Term, losses

CLASSES = 5


def main() -> None:
    """Train the student for two steps on random images."""
    # In practice: SegformerForSemanticSegmentation.from_pretrained("folder with your weights")
    config = SegformerConfig(
        num_labels=CLASSES, depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 64, 128], decoder_hidden_size=64
    )
    teacher = SegformerForSemanticSegmentation(config)
    student = smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=CLASSES)
    terms = {
        "kd": Term(losses.KD()),
        "at": Term(losses.AT(), on=("encoder.layer4", "decode_head.linear_fuse"), weight=10.0),
        "skd": Term(losses.SKDPairwise(), on="head"),
    }
    distiller = Distiller(student, teacher, terms)
    print(distiller.wiring())
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.01, momentum=0.9)
    for _ in range(2):
        images, labels = torch.randn(2, 3, 64, 64), torch.randint(CLASSES, (2, 64, 64))
        out = distiller(images, labels)
        optimizer.zero_grad()
        out.total.backward()
        optimizer.step()
        print("total loss:", out.total.item())


if __name__ == "__main__":
    main()
