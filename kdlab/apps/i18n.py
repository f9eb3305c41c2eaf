"""For every application: the course's fixed words in English and Chinese (`data/words.yaml`).

A language is "en", "zh" or "both", everywhere; None is that of the edition. No torch.
"""

import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml

from kdlab.files import EMBEDDED

LANGUAGES = ("en", "zh")
NUMBER = re.compile(r"\d[\d.,]*k?")


def edition() -> str:
    """The language of outputs: $KDLAB_LANGUAGE if it is set and not empty, else "en".

    A kernel that runs in notebooks/zh speaks "zh" where the variable does not say otherwise.
    """
    default = "zh" if Path.cwd().parts[-2:] == ("notebooks", "zh") else "en"
    return os.environ.get("KDLAB_LANGUAGE") or default


def languages(language: str | None = None) -> tuple[str, ...]:
    """The codes that a language stands for: "both" is ("en", "zh"). ValueError for another."""
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
def display_name(name: str, language: str | None = None) -> str:
    """The name of an arm, a class or a column as a reader knows it, for display alone: that of
    section `name`, or its parts' ("labels, 20 epochs"). Keys and records keep their names."""
    chinese = _in_chinese(name)
    if chinese == name:
        chinese = "".join(map(_in_chinese, re.split(r"(, |: | − |\(− |\(|\))", name)))
    if chinese != name:
        chinese = chinese.replace(", ", "，").replace(": ", "：")
    return text({"en": name, "zh": chinese}, language)


def record_title(name: str, english: str, language: str | None = None) -> str:
    """The title of a record, which itself has the English one."""
    return text({"en": english, "zh": wordbook()["title"].get(name, english)}, language)


def _in_chinese(part: str) -> str:
    """A name that section `name` has, with {n} for each number of it; others stay."""
    numbers = iter(NUMBER.findall(part))
    chinese = wordbook()["name"].get(NUMBER.sub("{n}", part), part)
    return re.sub("{n}", lambda _: next(numbers), chinese)


@cache
def wordbook() -> dict[str, dict[str, dict[str, str]]]:
    """Section -> name -> language -> words."""
    return yaml.safe_load((EMBEDDED / "words.yaml").read_text(encoding="utf-8"))
