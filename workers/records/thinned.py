"""An evenly spaced sample of a sequence of unknown length."""

from typing import Generic, TypeVar

T = TypeVar("T")


class Thinned(Generic[T]):
    """Keeps at most `most` of the items that are added, evenly spaced.

    A game or a run may last for days, so not every frame or row can be kept.
    """

    def __init__(self, most: int) -> None:
        self.items: list[T] = []
        self.stride = 1  # one of so many added items is kept
        self._most, self._added = most, 0

    def add(self, item: T) -> None:
        """Keep the next item or drop it."""
        if self._added % self.stride == 0 and len(self.items) == self._most:
            self.items = self.items[::2]
            self.stride *= 2
        if self._added % self.stride == 0:
            self.items.append(item)
        self._added += 1
