"""The words of the book: section `book` of `data/words.yaml`."""

from kdlab.words import say


def word(key: str, language: str, **values: object) -> str:
    """The words of a key in "en" or "zh", with `values` filled in."""
    return say(f"book.{key}", language, **values)
