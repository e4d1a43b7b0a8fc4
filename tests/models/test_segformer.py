"""SegFormer: published files load whichever way their keys are named; a missing package says so."""

import sys
from pathlib import Path

import pytest
import torch

from segdistill import models
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
