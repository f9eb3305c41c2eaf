"""The words of the book in both languages: words.yaml beside this file."""

from functools import cache
from pathlib import Path

import yaml


def word(key: str, language: str, **values: object) -> str:
    """The words of a key in "en" or "zh", with `values` filled in."""
    return _words()[key][language].format(**values)


@cache
def _words() -> dict[str, dict[str, str]]:
    return yaml.safe_load((Path(__file__).parent / "words.yaml").read_text(encoding="utf-8"))
