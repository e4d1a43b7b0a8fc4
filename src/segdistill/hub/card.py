"""The text of a model card. This module does not import PyTorch."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from segdistill.data import dataset_card
from segdistill.hub.facts import Facts
from segdistill.hub.front_matter import data_name, front_matter, model_name
from segdistill.hub.layouts import layout_of
from segdistill.models.names import license as known_license
from segdistill.reports.facts import facts as run_facts
from segdistill.system.terminal import printable

PADDED = """import segmentation_models_pytorch as smp
import torch.nn.functional as F

network = smp.from_pretrained("FOLDER_OR_REPOSITORY").eval()
height, width = images.shape[-2:]  # images: (N, 3, height, width), normalized as below
padded = F.pad(images, (0, -width % MULTIPLE, 0, -height % MULTIPLE))  # to sides that MULTIPLE divides
logits = network(padded)[..., :height, :width]  # (N, classes, height, width)"""
"""The use of a network of smp that takes only some sizes. It pads as segdistill does, with the mean color."""

USE = {
    "smp": """import segmentation_models_pytorch as smp

network = smp.from_pretrained("FOLDER_OR_REPOSITORY").eval()
logits = network(images)  # images: (N, 3, height, width), normalized as below; logits: (N, classes, height, width)""",
    "transformers": """from transformers import SegformerForSemanticSegmentation

network = SegformerForSemanticSegmentation.from_pretrained("FOLDER_OR_REPOSITORY").eval()
logits = network(images).logits  # images: (N, 3, height, width), normalized as below; logits: a quarter of the size""",
    "segdistill": """import segdistill

network = segdistill.models.load("FOLDER")  # images: (N, 3, height, width), normalized as below
logits = network(images).logits""",
}
FILES = {
    "student.onnx": "for ONNX Runtime",
    "student.int8.onnx": "for ONNX Runtime, with 8-bit integers",
    "student.pt2": "for `torch.export.load`",
    "student.openvino.xml": "for OpenVINO",
    "student.openvino.bin": "weights of `student.openvino.xml`",
    "student.pte": "for ExecuTorch",
    "export.json": "sizes, scores and times of these files",
}
"""The files of ``segdistill export``, and what each is for."""

RETURNS = {"classes": "; returns class indices", "logits": "; returns the scores of the classes, float32"}


def card(facts: Facts, description: dict[str, Any], license: str, multiple: int = 1) -> str:
    """Return README.md: front matter, scores, input, classes, training, license.

    Args:
        facts: The facts of the run.
        description: The content of student.json.
        license: The identifier of the license.
        multiple: The number that must divide the sides of the images, as the network is published.
    """
    parts = [
        front_matter(facts, license),
        f"# {_plain(model_name(facts))}",
        _about(facts),
        "## Use",
        f"```python\n{_use(facts.recipe.student.model, multiple)}\n```",
        *_input(facts, description),
        "## Scores",
        *_scores(facts),
        "## Training",
        *_training(facts),
        *_exported(facts),
        "## License",
        *_license(facts, license),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _use(model: str, multiple: int) -> str:
    if multiple > 1:
        return PADDED.replace("MULTIPLE", str(multiple))
    code = USE[layout_of(model)]
    return code.replace('("FOLDER")', f'("FOLDER", trust=True)  # imports {model}', 1) if ":" in model else code


def _about(facts: Facts) -> str:
    student, method = f"`{facts.recipe.student.model}`", facts.result["method"]
    data = f"the data set {_plain(data_name(facts))}"
    if method == "none":
        return f"{student}, trained on {data} with labels alone, with segdistill."
    teachers = " and ".join(f"`{each.model}`" for each in _teachers(facts))
    return f"{student}, distilled from {teachers} on {data} with the method `{_code(method)}` of segdistill."


def _teachers(facts: Facts) -> list[Any]:
    return list(facts.recipe.teacher.each.values()) if facts.recipe.teacher is not None else []


def _input(facts: Facts, description: dict[str, Any]) -> list[str]:
    own = layout_of(facts.recipe.student.model) == "segdistill"
    mean, std = (description.get(key if own else f"network_{key}") for key in ("mean", "std"))
    lines = [f"RGB images in 0..1, normalized with mean {mean} and standard deviation {std}."]
    if description.get("scale", 1.0) != 1.0:
        lines.append(f"The student was trained on images scaled by {description['scale']:g}.")
    if "short_side" in description:
        lines.append(f"Resize images to a short side of {description['short_side']} first, as for the scores.")
    if "window" in description:
        height, width = description["window"]
        lines.append(f"The scores were computed in windows of {height}x{width}, which overlap.")
    if facts.metric.key == "miou":
        aligned = "with" if description.get("align_corners", True) else "without"
        lines.append(f"The scores were computed with logits upsampled bilinearly {aligned} aligned corners.")
    classes = ", ".join(f"{index} {_plain(name)}" for index, name in enumerate(description.get("classes") or ()))
    return ["## Input and classes", " ".join(lines), *([f"Classes: {classes}."] if classes else [])]


def _scores(facts: Facts) -> list[str]:
    metric, columns = facts.metric, {}
    if facts.alone is not None:
        columns["student alone"] = facts.alone
    columns["this model"] = facts.result
    if isinstance(facts.result.get("teacher"), dict):
        columns["teacher"] = facts.result["teacher"]
    rows = [[metric.name, *(_percent(each[metric.key]) for each in columns.values())]]
    rows += [
        [_plain(name), *(_percent(each[metric.classes].get(name)) for each in columns.values())]
        for name in facts.result[metric.classes]
    ]
    split = _code(facts.result["split"])
    parts = [
        f"In percent, on the split `{split}`: {metric.name}, and {metric.of_class} of each class.",
        _table(["", *columns], rows),
    ]
    if facts.protocol:
        keys = ", ".join(f"`{_code(key)}`" for key in facts.protocol)
        parts.append(f"Scored with {keys}; scores without these settings differ.")
    if facts.gain is not None:
        parts.append(
            f"Gain over the same student trained alone with the same seed: {facts.gain:+.2f} points. One seed; other "
            "seeds differ."
        )
    parts.append(f"Parameters: {facts.result['params'] / 1e6:.2f} M.")
    return parts


def _training(facts: Facts) -> list[str]:
    recipe = facts.recipe.model_dump(mode="json")
    lines = run_facts(recipe, [facts.folder], [facts.result["split"]], [facts.recipe.seed])
    parts = ["\n".join(f"* {_plain(line)}" for line in lines)]
    terms = [
        [f"`{_code(name)}`", f"`{_code(term.loss)}`", f"`{_code(str(term.on))}`", _plain(str(term.weight))]
        for name, term in facts.recipe.terms.items()
    ]
    parts.append(_table(["term", "loss", "on", "weight"], terms))
    if facts.command:
        parts.append(f"Training command:\n\n```\n{_code(facts.command)}\n```")
    versions = {
        "segdistill": facts.environment.get("segdistill"),
        "commit": facts.environment.get("commit"),
        "python": facts.environment.get("python"),
        **(facts.environment.get("packages") or {}),
    }
    known = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    return [*parts, *([f"Versions: {_plain(known)}."] if known else [])]


def _exported(facts: Facts) -> list[str]:
    if not facts.exported:
        return []
    rows = [
        [
            f"`{name}`",
            FILES[name] + RETURNS.get(facts.outputs.get(name, ""), ""),
            f"{(facts.folder / name).stat().st_size / 1e6:.2f} MB",
        ]
        for name in facts.exported
    ]
    taken = "They take RGB images, uint8, of shape (N, height, width, 3); N is 1 for ExecuTorch."
    return ["## Exported files", taken, _table(["file", "content", "size"], rows)]


def _license(facts: Facts, license: str) -> list[str]:
    card = dataset_card(facts.recipe.data.name)
    networks = [facts.recipe.student, *_teachers(facts)]
    published = {each.model: known_license(each.model) for each in networks}
    lines = [f"Data set {_plain(data_name(facts))}: {_plain(card.terms)}"] if card.terms not in ("", "none") else []
    lines += [f"Published weights of `{name}`: {_plain(text)}" for name, text in published.items() if text]
    listed = "\n".join(f"* {line}" for line in lines)
    chosen = f"The publisher of these weights has chosen: {license}."
    return [chosen, *([f"Terms that may apply too:\n\n{listed}"] if listed else [])]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _plain(text: str) -> str:
    r"""Return text that Markdown shows as it is, on one line.

    >>> _plain("road | <b>wet</b>")
    'road \\| \\<b\\>wet\\</b\\>'
    """
    return re.sub(r"([\\`*\[\]<>|#~]|\b_|_\b)", r"\\\1", printable(" ".join(text.split())))


def _code(text: str) -> str:
    """Return text for a code span or block, without backticks and on one line."""
    return printable(" ".join(text.split())).replace("`", "'").replace("|", "\\|")
