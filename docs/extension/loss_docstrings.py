"""The docstring of every loss, by autodoc."""

from segdistill.catalogue.cards import LOSS_CARDS, LossCard


def loss_docstrings() -> str:
    """Return a section of Markdown for each loss."""
    return "\n".join(_section(card) for card in LOSS_CARDS)


def _section(card: LossCard) -> str:
    names = [f"autoclass:: segdistill.losses.{card.module}"]
    if not card.module_only:
        names = [f"autofunction:: segdistill.losses.{card.name}"]
    if card.name == "gskd":
        names.append("autofunction:: segdistill.losses.sub_image_descriptor_kl")
    directives = "\n\n".join(f".. {name}" for name in names)
    return f"### {card.module}\n\n```{{eval-rst}}\n{directives}\n```\n"
