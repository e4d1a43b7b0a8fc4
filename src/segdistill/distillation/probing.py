"""A reader of the features that several terms need from one network; errors name the term."""

from collections.abc import Mapping

from torch import Tensor, nn

from segdistill.distillation.features import FeatureReader
from segdistill.distillation.taps import probe_for
from segdistill.errors import FOREIGN, UserError, first_line


def read_features(
    network: nn.Module, role: str, wanted: Mapping[str, tuple[str, ...]], probe: Tensor | None
) -> FeatureReader:
    """Return one reader of all features, tested in one forward pass.

    Args:
        network: Student or teacher.
        role: "student" or "teacher".
        wanted: The features' names, by the name of the term.
        probe: An image batch for the pass; by default a black image.

    Raises:
        UserError: The network does not have a feature, or fails on the probe.
    """
    default = probe_for(network)
    image = default if probe is None else probe.to(default)
    try:
        return FeatureReader(network, [feature for names in wanted.values() for feature in names], image)
    except FOREIGN as error:
        if not isinstance(error, UserError):
            size = "x".join(map(str, image.shape[2:]))
            raise UserError(
                f"the {role} fails on an image of {size}: {first_line(error)}; give a probe (in a recipe data.crop) "
                "of a size that it accepts"
            ) from error
        for name, features in wanted.items():  # find the term
            try:
                FeatureReader(network, features, image)
            except UserError as error:
                raise UserError(f"term '{name}', {role}: {error}") from None
        raise
