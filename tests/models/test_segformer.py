"""SegFormer: published files load whichever way their keys are named; patch embeddings; a missing package says so."""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from segdistill import Distiller, models
from segdistill.distillation.features import FeatureReader
from segdistill.errors import UserError

transformers = pytest.importorskip("transformers")


def test_same_logits_as_transformers_from_a_published_file(tmp_path: Path) -> None:
    config = transformers.SegformerConfig(num_labels=7)
    theirs = transformers.SegformerForSemanticSegmentation(config).eval()
    theirs.save_pretrained(tmp_path)  # with the key names of the published files
    ours = models.build("segformer_b0", 7)
    report = models.load_weights(ours, tmp_path / "model.safetensors", strict=True)
    assert report.unused == report.initial == ()
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(images).logits, theirs(images).logits)


def test_the_patch_embeddings_are_those_of_transformers_as_maps() -> None:
    torch.manual_seed(0)
    ours = models.build("segformer_b0", 7).eval()
    theirs = transformers.SegformerForSemanticSegmentation(transformers.SegformerConfig(num_labels=7)).eval()
    theirs.load_state_dict(ours.state_dict())
    expected: list[tuple[Tensor, int, int]] = []
    for stage in theirs.segformer.stages:
        stage.patch_embeddings.register_forward_hook(lambda *values: expected.append(values[-1]))
    names = [f"embedding{number}" for number in (1, 2, 3, 4)]
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        theirs(images)
        maps = FeatureReader(ours, names, images[:1])(images)
    for name, (tokens, height, width) in zip(names, expected, strict=True):
        assert maps[name].shape == (2, tokens.shape[2], height, width)
        assert torch.equal(maps[name].flatten(2).mT, tokens)


def test_transkd_compares_the_patch_embeddings_after_a_linear_projection() -> None:
    torch.manual_seed(0)
    student, teacher = (models.build(name, 7).eval() for name in ("segformer_b0", "segformer_b4"))
    distiller = Distiller(student, teacher, "transkd_embeddings", probe=torch.zeros(1, 3, 64, 96)).eval()
    images, labels = torch.randn(2, 3, 64, 96), torch.randint(0, 7, (2, 64, 96))
    out = distiller(images, labels)
    x, y = images, images
    total = 0.0
    for number, weight in enumerate((0.1, 0.1, 0.5, 1.0), start=1):
        s, t = (network.segformer.stages[number - 1] for network in (student, teacher))
        s_tokens, t_tokens = s.patch_embeddings(x)[0], t.patch_embeddings(y)[0]
        projection = distiller.terms[f"embedding{number}"].adapters[0].weight[:, :, 0, 0]
        squares = (s_tokens @ projection.mT - t_tokens).square()
        torch.testing.assert_close(out.terms[f"embedding{number}"], squares.mean())
        total += weight * squares.mean()
        x, y = s(x), t(y)
    torch.testing.assert_close(out.total, out.terms["task"] + total)


def test_the_oldest_key_names_are_known() -> None:
    # Names in nvidia/segformer-b0-finetuned-ade-512-512, as the documentation of transformers 4 has them.
    from segdistill.models.weights import _rename

    network = models.build("segformer_b0", 7)
    for published in (
        "segformer.encoder.patch_embeddings.1.proj.weight",
        "segformer.encoder.block.2.1.layer_norm_2.bias",
        "segformer.encoder.block.0.0.attention.self.query.weight",
        "segformer.encoder.block.0.0.attention.self.sr.weight",
        "segformer.encoder.block.0.0.attention.self.layer_norm.weight",
        "segformer.encoder.block.3.0.attention.output.dense.bias",
        "segformer.encoder.block.3.0.mlp.dense1.weight",
        "segformer.encoder.block.3.0.mlp.dwconv.dwconv.weight",
        "segformer.encoder.layer_norm.3.weight",
        "decode_head.linear_c.0.proj.weight",
        "decode_head.linear_fuse.weight",
    ):
        assert _rename(published, network.key_renames) in network.state_dict(), published


def test_without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "segdistill.models.segformer", raising=False)
    with pytest.raises(UserError, match=r'pip install "segdistill\[all\]"'):
        models.build("segformer_b0", 19)
