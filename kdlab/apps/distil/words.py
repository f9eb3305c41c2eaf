"""For the engineer: what is printed and reported, in either language (`data/words.yaml`)."""

from collections.abc import Callable, Mapping

from kdlab.apps.distil.verdict import Gap, Verdict
from kdlab.apps.i18n import languages, translate

Sentence = Callable[..., str]  # (language) -> words


def words(key: str, language: str | None = None, /, **values: object) -> str:
    """The words of a key of the section `distil`; a value may be a `Sentence` itself."""
    said = []
    for code in languages(language):
        filled = {name: value(code) if callable(value) else value for name, value in values.items()}
        said.append(translate(f"distil.{key}", code, **filled))
    return " / ".join(dict.fromkeys(said))


def sentence(key: str, **values: object) -> Sentence:
    """The same, the language left open."""
    return lambda language=None: words(key, language, **values)


def arm_name(arm: str) -> Sentence:
    return sentence(f"arm {arm}")


def pair_name(arm: str, over: str) -> Sentence:
    return sentence("minus", arm=arm_name(arm), over=arm_name(over))


def interval(gap: Gap, key: str = "interval") -> Sentence:
    return sentence(key, gap=gap.mean, low=gap.low, high=gap.high)


def verdict_sentence(verdict: Verdict) -> Sentence:
    values: Mapping = verdict.values
    if "control" in values:
        values = {**values, "control": arm_name(values["control"])}
    return sentence(verdict.sentence, **values)
