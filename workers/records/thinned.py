"""A sample of a sequence whose length nobody knows."""

from typing import Generic, TypeVar

T = TypeVar("T")


class Thinned(Generic[T]):
    """Keeps at most `most` items of all that are added, evenly spaced: a game or a run may last for days."""

    def __init__(self, most: int) -> None:
        self.items: list[T] = []
        self.stride = 1  # how many were added from one that is kept to the next
        self._most, self._added = most, 0

    def add(self, item: T) -> None:
        """Looks at the next item."""
        if self._added % self.stride == 0 and len(self.items) == self._most:
            self.items = self.items[::2]
            self.stride *= 2
        if self._added % self.stride == 0:
            self.items.append(item)
        self._added += 1
