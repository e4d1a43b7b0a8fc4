"""Keys of a network's section that the run of its weights decides: normalization, upsampling, options."""

import json
import logging
from pathlib import Path
from typing import Any

from segdistill.errors import UserError
from segdistill.models.student_files import description_beside
from segdistill.recipes.schema import Network

_log = logging.getLogger(__name__)


def with_keys_of_run(network: Network, *, strict: bool) -> Network:
    """Return the section with the keys that it leaves unset as the run of its weights had them.

    Weights of no run, and keys that an earlier version did not write, leave the section as it is. The normalization
    belongs to the weights. Options and, for a student, ``align_corners`` belong to the network: they are taken if the
    run trained the same model, because a student may start from the backbone of another.

    Args:
        network: The section of the recipe.
        strict: See :func:`segdistill.training.build.build_network`.

    Raises:
        UserError: The section sets a key to another value than the run, or its ``student.json`` is damaged.
    """
    run = {} if network.weights is None else description_beside(Path(network.weights).expanduser())
    if not run:
        return network
    is_same = run["model"] == network.model
    trained = {"mean": run.get("network_mean"), "std": run.get("network_std")}
    if is_same or strict:
        trained["align_corners"] = run.get("align_corners")
    trained = {key: value for key, value in trained.items() if value is not None}
    options = run["options"] if is_same else {}
    given = {key: value for key in trained if (value := getattr(network, key)) is not None}
    _check_equal(
        str(network.weights),
        {**trained, **{f"options.{key}": value for key, value in options.items()}},
        {**given, **{f"options.{key}": value for key, value in network.options.items()}},
    )
    if taken := {key: value for key, value in options.items() if key not in network.options}:
        _log.info("%s: options as in its run, %s", network.weights, _shown(taken))
    return network.model_copy(update={**trained, **given, "options": {**options, **network.options}})


def _check_equal(weights: str, run: dict[str, Any], recipe: dict[str, Any]) -> None:
    """Raise if the recipe sets a key to another value than the run."""
    other = [key for key in run if key in recipe and _plain(recipe[key]) != _plain(run[key])]
    if other:
        there, here = (_shown({key: values[key] for key in other}) for values in (run, recipe))
        raise UserError(
            f"{weights} was trained with {there}, and the recipe has {here}; leave out these keys, or copy "
            "student.safetensors to a folder without student.json"
        )


def _plain(value: object) -> Any:
    """Return a value as JSON holds it, where a tuple is a list."""
    return json.loads(json.dumps(value, default=str))


def _shown(values: dict[str, Any]) -> str:
    return ", ".join(f"{key}={json.dumps(value, default=str)}" for key, value in values.items())
