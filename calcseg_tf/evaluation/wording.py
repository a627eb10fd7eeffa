"""Words that pages, tables and figures share."""

__all__ = ["counted"]


def counted(count: int, noun: str) -> str:
    """Returns a count with its noun: "1 image", "1,200 images"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
