"""Text of others, made fit for a terminal, a log or a picture."""

__all__ = ["printable"]


def printable(text: str) -> str:
    r"""Returns text with what does not print shown as its code: "\n", or the escape that a terminal would obey."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
