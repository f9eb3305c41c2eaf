"""The course's fixed words in English and Chinese, by key: `data/words.yaml`.

A language is "en", "zh" or "both", everywhere. No torch.
"""

from collections.abc import Mapping
from functools import cache

import yaml

from kdlab.files import EMBEDDED

LANGUAGES = ("en", "zh")


def codes(language: str) -> tuple[str, ...]:
    """The languages that this one names; ValueError says what can be asked."""
    if language not in (*LANGUAGES, "both"):
        raise ValueError(f"the language is 'en', 'zh' or 'both', got {language!r}")
    return LANGUAGES if language == "both" else (language,)


def text(node: Mapping[str, object], language: str = "both") -> str:
    """One text of {"en": ..., "zh": ...}; with "both", the two joined unless they are alike."""
    return " / ".join(dict.fromkeys(str(node[code]).strip("\n") for code in codes(language)))


def say(key: str, language: str = "both", **values: object) -> str:
    """The words of a key such as "panel.temperature", with `values` filled in."""
    section, _, name = key.partition(".")
    node = wordbook()[section][name]
    return text({code: node[code].format(**values) for code in codes(language)}, language)


@cache
def wordbook() -> dict[str, dict[str, dict[str, str]]]:
    """Section -> name -> language -> words."""
    return yaml.safe_load((EMBEDDED / "words.yaml").read_text(encoding="utf-8"))
