"""The course's fixed words in English and Chinese, by key: `data/words.yaml`.

A language is "en", "zh" or "both", everywhere; None is that of the edition. No torch.
"""

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from kdlab.files import EMBEDDED

LANGUAGES = ("en", "zh")


def edition() -> str:
    """The language that a notebook speaks: $KDLAB_LANGUAGE, else Chinese in notebooks/zh."""
    chinese = Path.cwd().parts[-2:] == ("notebooks", "zh")
    return os.environ.get("KDLAB_LANGUAGE") or ("zh" if chinese else "en")


def languages(language: str | None = None) -> tuple[str, ...]:
    """The languages that this one names; ValueError says what can be asked."""
    language = language or edition()
    if language not in (*LANGUAGES, "both"):
        raise ValueError(f"the language is 'en', 'zh' or 'both', got {language!r}")
    return LANGUAGES if language == "both" else (language,)


def text(node: Mapping[str, object], language: str | None = None) -> str:
    """One text of {"en": ..., "zh": ...}; with "both", the two joined unless they are alike."""
    return " / ".join(dict.fromkeys(str(node[code]).strip("\n") for code in languages(language)))


def translate(key: str, language: str | None = None, **values: object) -> str:
    """The words of a key such as "panel.temperature", with `values` filled in."""
    section, _, name = key.partition(".")
    node = wordbook()[section][name]
    return text({code: node[code].format(**values) for code in languages(language)}, language)


@cache
def wordbook() -> dict[str, dict[str, dict[str, str]]]:
    """Section -> name -> language -> words."""
    import yaml

    return yaml.safe_load((EMBEDDED / "words.yaml").read_text(encoding="utf-8"))
