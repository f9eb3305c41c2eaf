"""The decision guide: its rules are sound, its verdicts are the records', and it refuses."""

import itertools
import json
import re
from unittest.mock import Mock

import pytest
from seal_translations import texts

from kdlab.apps.chapters import decision_guide
from kdlab.apps.i18n import translate
from kdlab.lab import configs, results, stats

BOOK = decision_guide.rulebook()
RULES = {rule["id"]: rule for rule in BOOK["rules"]}


def record(**arms):
    """A record by hand: arm -> one value a seed, or a dict of metrics with such lists."""
    runs = []
    for arm, values in arms.items():
        metrics = values if isinstance(values, dict) else {"accuracy": values}
        for seed, found in enumerate(zip(*metrics.values(), strict=True)):
            runs.append({"arm": arm, "seed": seed, **dict(zip(metrics, found, strict=True))})
    return {"runs": runs, "settings": {arm: {"judge": "validation"} for arm in arms}}


def compared(record, arm="b", over="a", name="by-hand", **more):
    spec = {"record": name, "arm": arm, "over": over, **more}
    return decision_guide.evidence(spec, lambda name: record)


def board(change):
    """Finds the records, the leaderboard with its runs changed."""

    def find(name):
        record = results.read(name)
        return record | {"runs": change(record["runs"])} if name == "leaderboard" else record

    return find


FOUR = record(a=[70, 71, 72], b=[73, 74.1, 75], c=[66, 67, 68.1], d=[71, 70, 73])
nothing = Mock(side_effect=FileNotFoundError)


def test_all_evidence_is_recorded_and_none_contradicts_a_rule():
    assert decision_guide.missing() == [], (
        "make the records, or name arms and metrics that they have"
    )
    assert decision_guide.contradictions() == []
    metrics = {found.metric for advice in decision_guide.every_rule() for found in advice.evidence}
    assert metrics <= set(stats.SIGN)


def test_every_combination_of_constraints_gets_advice():
    for combination in itertools.product(*decision_guide.choices().values()):
        asked = dict(zip(decision_guide.choices(), combination, strict=True))
        assert any(decision_guide.fires(rule, asked) for rule in BOOK["rules"]), asked


def test_rules_are_well_formed_and_named_once():
    needed, verdicts = {"do", "brief", "measure", "avoid", "shown_in"}, {"better", "worse"}
    parts = needed | {"id", "name", "when", "start", "needs", "weighs", "among", "settings", "live"}
    assert len(RULES) == len(BOOK["rules"])
    for name, rule in RULES.items():
        assert needed <= set(rule) <= parts, name
        for constraint, allowed in rule["when"].items():
            assert set(allowed) < set(decision_guide.choices()[constraint]), name
        assert {s["is"].removeprefix("not ") for s in rule.get("needs", ())} <= verdicts, name


def test_no_result_is_typed_into_the_rulebook():
    result = re.compile(r"\d\s?%|\d[\d.,]* (points|errors|个点|个百分点)")
    assert not [t for _, pair in texts(BOOK, "") for t in pair.values() if result.search(str(t))]


def test_the_first_setting_is_that_of_the_course():
    said = RULES["soft-targets"]["start"]["en"]
    t, soft, hard = configs.KD.values()
    assert f"T = {t:g}, soft weight {soft}" in said and f"hard weight {hard}" in said


def test_verdicts_follow_the_interval_and_fewer_errors_are_better():
    assert [compared(FOUR, arm).verdict for arm in "bcd"] == ["better", "worse", "noise"]
    assert compared(FOUR).strength > 1 > abs(compared(FOUR, "d").strength)
    by_hand = record(a={"errors": [140, 150, 145]}, b={"errors": [100, 111, 104]})
    found = compared(by_hand, metric="errors")
    assert found.verdict == "better" and found.strength > 1 and found.gap.mean < 0


def test_before_and_after_of_one_arm():
    by_hand = record(b={"unseen errors": [110, 120], "unseen errors shifted": [10, 21]})
    found = compared(by_hand, over="b", metric="unseen errors shifted", of="unseen errors")
    assert found.gap.mean == pytest.approx(-99.5) and found.verdict == "better"


@pytest.mark.parametrize(
    "by_hand", [record(a=[70, 71]), record(a=[70], b=[71]), record(a=[70, 71], b={"ece": [1, 2]})]
)
def test_what_can_not_be_compared_is_missing(by_hand):
    found = compared(by_hand)
    assert found.verdict == "missing" and found.holds
    assert "not recorded" in decision_guide.line(found) and "还没有记录" in decision_guide.line(
        found, "zh"
    )


@pytest.mark.parametrize(
    ("needed", "arms"),
    [("better", "b"), ("worse", "c"), ("not better", "cd"), ("not worse", "bd"), ("", "bcd")],
)
def test_a_need_holds_for_its_verdicts(needed, arms):
    """b is better, c worse, d within noise: see above."""
    assert [a for a in "bcd" if compared(FOUR, a, **{"is": needed}).holds] == [*arms]


def test_a_file_that_was_measured_once_has_no_interval():
    form = {"latency": {"batch 1, 1 thread": {"p50": 0.3}}}
    model = {"arm": "net", "seed": 0, "accuracy": 90.0, "accuracy int8": 89.9}
    model |= {"float32": form | {"bytes": 4000}, "int8": form | {"bytes": 1000}}
    more = {"name": "deploy", "metric": "kB", "is": "better"}
    found = compared({"runs": [model]}, "net int8", "net", **more)
    assert decision_guide.number(found) == "-3.00 kB" and found.verdict == "better" and found.holds
    assert "measured once" in decision_guide.line(found) and found.strength != found.strength


def test_numbers_in_both_languages():
    found = compared(FOUR)
    assert re.fullmatch(r"\+3\.03 points \(\+2\.\d\d to \+3\.\d\d\)", decision_guide.number(found))
    assert re.fullmatch(
        r"\+3\.03 个百分点（\+2\.\d\d 至 \+3\.\d\d）", decision_guide.number(found, "zh")
    )
    assert decision_guide.short(found).startswith(
        "b − a: +3.03"
    ) and "noise" not in decision_guide.short(found)


def test_a_record_that_says_the_opposite_withholds_the_advice():
    swap = {"labels": "soft targets", "soft targets": "labels"}
    swapped = board(lambda runs: [r | {"arm": swap.get(r["arm"], r["arm"])} for r in runs])
    first = decision_guide.recommend(records=swapped)[0]
    assert first.rule["id"] == "soft-targets" and first.status == "withheld"
    assert translate("guide.withheld", "en") in first.page()
    assert any("soft-targets" in sentence for sentence in decision_guide.contradictions(swapped))


@pytest.mark.parametrize(("seeds", "status"), [(1, "open"), (2, "withheld"), (10, "supported")])
def test_too_few_seeds_withhold_the_advice_and_none_leave_it_open(seeds, status):
    fewer = board(lambda runs: [run for run in runs if run["seed"] < seeds])
    assert decision_guide.recommend(records=fewer)[0].status == status


def test_what_chapter_09_measures_live_is_called_so():
    live = [advice for advice in decision_guide.every_rule() if advice.rule.get("live")]
    assert {a.rule["id"] for a in live} >= {"wrong-labels", "long-tail"}
    for advice in live:
        assert advice.status == "live" and not advice.evidence and advice.first is None
        assert advice.rule["shown_in"].startswith("09_")
        assert translate("guide.live", "zh") in advice.page("zh")


def test_a_larger_teacher_is_not_called_supported_by_its_assistant():
    assert decision_guide.weigh(RULES["choose-the-teacher"]).status == "unproven"


def test_without_records_advice_is_open_and_says_so():
    advice = decision_guide.recommend(records=nothing)
    assert {a.status for a in advice} == {"open"}
    assert "not recorded yet" in advice.page().markdown
    assert "cifar-gain: python -m kdlab run cifar-gain" in decision_guide.missing(nothing)
    assert decision_guide.contradictions(nothing) == []


def test_a_verdict_counts_what_the_record_compares():
    """What alone is beyond noise is what chance gives as one of forty rows."""
    arms = {"labels": [70.0, 71.0, 72.0, 73.0], "taught": [71.0, 72.5, 72.7, 74.4]}
    alone = compared(record(**arms), "taught", "labels")
    assert alone.verdict == "better" and alone.corrected == alone.gap.p < 0.05
    arms |= {f"other {n}": [70.0 + n % 3, 72.0, 71.0, 73.0] for n in range(39)}
    among = compared(record(**arms), "taught", "labels")
    assert among.gap == alone.gap and among.verdict == "noise" and among.strength < 1
    assert among.corrected == pytest.approx(40 * alone.gap.p)
    kinds = {f"{kind}: {way}": v for kind in "ab" for way, v in list(arms.items())[:2]}
    of_kinds = compared(record(**kinds), "b: taught", "b: labels")
    assert of_kinds.corrected == pytest.approx(2 * alone.gap.p)  # two kinds, two comparisons


def test_advice_without_experiments_or_without_a_gain_says_so():
    (advice,) = decision_guide.recommend(labels="none", unlabelled="yes", teacher="top-1")
    assert advice.status == "argued" and advice.first is None
    for hard, status in (([71, 70, 73], "unproven"), ([73, 74, 75.1], "supported")):
        arms = {"labels": [70, 71, 72], "soft targets": [73, 74.1, 75], "hard distillation": hard}
        advice = decision_guide.weigh(RULES["top-1-only"], Mock(return_value=record(**arms)))
        assert advice.status == status
        assert (translate("guide.unproven", "zh") in advice.page("zh")) == (status == "unproven")


def test_candidates_are_chosen_by_the_record():
    arms = {"soft targets": [70, 71, 72], "DKD": [73, 74.1, 75], "DIST": [66, 67, 68.1]}
    arms |= {"logit matching": [71, 70, 73]}
    advice = decision_guide.weigh(RULES["other-logit-losses"], lambda name: record(**arms))
    told = decision_guide.ranking(advice.among)
    noise = "within noise: logit matching .*worse, beyond noise: DIST "
    assert re.search(rf"better, beyond noise: DKD \+3\.03.*{noise}", told)
    assert "logit standardisation" not in told  # it has no runs
    assert advice.first.arm == "DKD"


def test_the_best_setting_is_that_of_the_validation_images():
    by_hand = record(**{"x w=1": [70, 71], "x w=2": [72, 73], "other": [90, 90]})
    assert results.best_setting("tuning", "x", lambda name: by_hand) == ("tuning", "x w=2", 2)
    numbered = record(**{"x #1": [70, 71], "x #2": [72, 73]})
    for lr, setting in zip((0.1, 0.2), numbered["settings"].values(), strict=True):
        setting |= {"lr": lr, "temperature": 4.0}
    assert results.best_setting("tuning", "x", lambda name: numbered)[1] == "lr 0.2"
    by_hand["settings"]["x w=1"]["judge"] = "test"
    with pytest.raises(ValueError, match="judged on test images"):
        results.best_setting("tuning", "x", lambda name: by_hand)
    assert results.best_setting("tuning", "x", nothing) is None


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [({"label": "few"}, "no constraint 'label': there are labels"),
     ({"labels": "some"}, "labels can't be 'some': it is one of all, few")],
)  # fmt: skip
def test_a_wrong_constraint_is_one_clear_sentence(asked, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        decision_guide.recommend(**asked)


def test_a_page_in_each_language():
    advice = decision_guide.recommend()
    assert "**1.** **Plain soft targets first" in advice.page().markdown
    assert "先做最普通的软目标蒸馏" in advice.page("zh").markdown
    assert repr(advice).startswith("soft-targets: ")
    assert json.dumps(decision_guide.row(advice[0]))  # plain values for a figure
