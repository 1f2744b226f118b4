"""A terminal to look at."""

from __future__ import annotations


class Screen:
    """Stands for stdout or stderr on a terminal. Put in place in a test's body: pytest resets both after fixtures."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        self.text += ""
