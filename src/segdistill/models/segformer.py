"""SegFormer (Xie et al., 2021, https://arxiv.org/abs/2105.15203), built from the modules of transformers."""

from torch import Tensor, nn

from segdistill.errors import UserError
from segdistill.outputs import SegOutput

try:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation
except ImportError as error:
    raise UserError('SegFormer needs transformers: pip install "segdistill[all]"') from error

SIZES: dict[str, dict[str, object]] = {
    "b0": {},  # the defaults of transformers
    "b4": {"depths": [3, 8, 27, 3], "hidden_sizes": [64, 128, 320, 512], "decoder_hidden_size": 768},
}


def configuration(num_classes: int, size: str) -> SegformerConfig:
    """Return the configuration of transformers for a size, ``"b0"`` or ``"b4"``."""
    # CIRKD has no dropout before the classifier; the default of transformers is 0.1.
    return SegformerConfig(num_labels=num_classes, classifier_dropout_prob=0.0, **SIZES[size])


class PatchEmbeddings(nn.Module):
    """The patch embedding of a stage, which also passes its map to a module that a hook can read.

    The embedding of transformers returns tokens and their height and width.

    Args:
        embeddings: The module of transformers. Its layers keep their names.
    """

    def __init__(self, embeddings: nn.Module) -> None:
        super().__init__()
        self.proj = embeddings.get_submodule("proj")
        self.layer_norm = embeddings.get_submodule("layer_norm")
        self.map = nn.Identity()

    def forward(self, images: Tensor) -> tuple[Tensor, int, int]:
        """Return the tokens (N, height * width, channels), the height and the width."""
        projected = self.proj(images)
        tokens: Tensor = self.layer_norm(projected.flatten(2).transpose(1, 2))
        self.map(tokens.transpose(1, 2).view_as(projected))
        return tokens, *projected.shape[2:]


class SegFormer(nn.Module):
    """The mix-transformer encoder with the all-MLP decoder; logits at stride 4.

    Args:
        num_classes: Number of classes.
        size: ``"b0"`` or ``"b4"``.

    Attributes:
        align_corners: True: CIRKD upsamples the logits with aligned corners. transformers does not; for weights trained
            with it give ``align_corners=False``.
        roles: ``stage1`` (stride 4) .. ``stage4`` (stride 32); ``embedding1`` .. ``embedding4``, the patch embeddings
            from which the stages start; and ``head``, the fused map before the classifier.
    """

    #: Patterns of the key names in published files (transformers before 5), and their replacements.
    key_renames = (
        (r"encoder\.patch_embeddings\.(\d+)\.", r"stages.\1.patch_embeddings."),
        (r"encoder\.block\.(\d+)\.", r"stages.\1.blocks."),
        (r"encoder\.layer_norm\.(\d+)\.", r"stages.\1.layer_norm."),
        (r"attention\.self\.query", "attention.q_proj"),
        (r"attention\.self\.key", "attention.k_proj"),
        (r"attention\.self\.value", "attention.v_proj"),
        (r"attention\.self\.sr", "attention.sequence_reduction.sequence_reduction"),
        (r"attention\.self\.layer_norm", "attention.sequence_reduction.layer_norm"),
        (r"attention\.output\.dense", "attention.o_proj"),
        (r"mlp\.dense(\d)", r"mlp.fc\1"),
        (r"layer_norm_1", "layernorm_before"),
        (r"layer_norm_2", "layernorm_after"),
        (r"decode_head\.linear_c\.", "decode_head.linear_projections."),
    )

    def __init__(self, num_classes: int, *, size: str) -> None:
        super().__init__()
        network = SegformerForSemanticSegmentation(configuration(num_classes, size))
        self.align_corners = True
        self.segformer = network.segformer
        self.decode_head = network.decode_head
        self.roles = {f"stage{number}": f"segformer.stages.{number - 1}" for number in (1, 2, 3, 4)}
        for number, stage in enumerate(self.segformer.stages, start=1):
            stage.patch_embeddings = PatchEmbeddings(stage.patch_embeddings)
            self.roles[f"embedding{number}"] = f"segformer.stages.{number - 1}.patch_embeddings.map"
        self.roles["head"] = "decode_head.classifier:input"

    def forward(self, images: Tensor) -> SegOutput:
        """Return logits of shape (N, C, H / 4, W / 4) for images of shape (N, 3, H, W)."""
        maps, x = [], images
        for stage in self.segformer.stages:
            x = stage(x)
            maps.append(x)
        return SegOutput(self.decode_head(maps))
