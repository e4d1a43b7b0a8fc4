"""A listener for tests: it remembers what progress tells."""


class Heard:
    """Keep every call: ``lines`` in their order, ``told`` without the ends."""

    def __init__(self) -> None:
        self.lines: list[tuple[object, ...]] = []

    def hear(self, what: str, done: int, total: int | None) -> None:
        self.lines.append((what, done, total))

    def end(self, what: str) -> None:
        self.lines.append((what,))

    @property
    def told(self) -> list[tuple[object, ...]]:
        return [line for line in self.lines if len(line) == 3]
