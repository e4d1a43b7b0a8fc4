"""Write docs/losses.md from the catalogue's cards and the measurements in benchmarks/losses.json.

python docs/make_losses.py
"""

import json
from pathlib import Path
from typing import Any

from segdistill.catalogue.cards import LOSS_CARDS, LossCard
from segdistill.catalogue.methods import described
from segdistill.recipes import METHODS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "losses.md"
RECORD = ROOT / "benchmarks" / "losses.json"

HEAD = """# Losses

Every loss compares one thing of the student with the same thing of the teacher; `Term` says which, `weight` how much.
This page is written by `make docs` from the cards in `src/segdistill/catalogue.py` and the measurements in
`benchmarks/losses.json`; `segdistill losses` shows the same in a terminal, and a docstring says more of each, with the
places where released code departs from its paper.

In the equations S and T are student and teacher, softmax_c runs over classes or channels, softmax_hw over positions,
mean_i over pixels; N images, d channels, C classes, h x w positions.
"""

MEASURED = """
## What they cost

Time, forward and backward, relative to a training step of the student alone, and memory at the peak beyond the inputs,
as a term of a Distiller (with its adapter, and with what its own parts learn): maps of ({batch}, 128, 64, 128) in the
student and ({batch}, 256, 64, 128) in the teacher, 19 classes, labels of 512x1024. The step is that of
`deeplabv3_resnet18` on {batch} crops of 512x1024, {step_seconds:.1f} s on {threads} cores without an accelerator
(`python benchmarks/losses.py`, PyTorch {torch}, commit {commit}).

| loss | time | memory | grows as |
|---|---|---|---|
"""

_PARTS = {
    "pixels": "a mean over pixels: the parts of a step weigh what each has of them",
    "images": "a mean over images: the parts of a step weigh what each has of them",
    "batch": "compares within the whole batch, or adds up several means: the parts of a step count alike, and are not "
    "quite the whole batch",
}


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """Return the page as it should be."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    parts = [HEAD, *(section(card) for card in LOSS_CARDS), _costs(record), _methods()]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def section(card: LossCard) -> str:
    """Return what the page says of one loss."""
    on = card.on if isinstance(card.on, str) else ", ".join(card.on)
    labels = "required" if card.labels == "required" else "optional (void pixels are left out)"
    if not card.teacher:
        widths = "student alone"
    elif not card.equal_channels:
        widths = "channels may differ"
    else:
        widths = "classes equal" if card.needs == ("logits",) else "channels equal; a 1x1 convolution makes them so"
    defaults = ", ".join(
        f"`{key}={value}`" if value is not None else f"`{key}`" for key, value in card.hyperparameters.items()
    )
    call = f"`{card.module}`" if card.module_only else f"`{card.name}`, `{card.module}`"
    lines = [
        f"## {card.name}",
        "",
        f"{card.idea[0].upper()}{card.idea[1:]}. {call}; [{card.paper}]({card.url}).",
        "",
        f"    {card.equation}",
        "",
        f"* compares {' or '.join(card.needs)}, by default on `{on}`; {widths}; labels {labels}",
        *([f"* hyper-parameters: {defaults}"] if defaults else []),
        f"* {_PARTS[card.mean_over]}",
        f"* weight {card.weight:g}: {card.weight_source}",
        f"* checked against: {card.evidence}",
    ]
    return "\n".join(lines)


def _costs(record: dict[str, Any]) -> str:
    rows = []
    for card in LOSS_CARDS:
        measured = record["losses"].get(card.name)
        time = f"{_figure(measured['percent'])} %" if measured else "not measured"
        memory = f"{_figure(measured['megabytes'])} MB" if measured else "not measured"
        rows.append(f"| {card.name} | {time} | {memory} | {card.cost}{f'; {card.costly}' if card.costly else ''} |")
    return MEASURED.format_map(record) + "\n".join(rows)


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _methods() -> str:
    lines = [
        "## Methods",
        "",
        "`method=NAME` in a recipe; each beside the task loss, with the weights of its paper or its authors' code.",
        "",
        "| method | terms: weight x loss |",
        "|---|---|",
    ]
    for name, terms in METHODS.items():
        lines.append(f"| `{name}` | {', '.join(described(terms)) or 'none: the student alone'} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
