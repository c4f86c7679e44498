"""Names and phrases that only this project would understand stay out of code and documents."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORDS = ROOT / "benchmarks" / "private_words.toml"
TERMS = tomllib.loads(WORDS.read_text())["term"]
PRIVATE = {
    "bench: Bench = prepare(settings)": "Workspace",
    "with Logbook(folder) as log:": "RunLogger",
    "keeper.arrive(update)": "Checkpointer",
    "for entrant in line_up(bench, policies)": "methods",
    "check = teacher_lessons(split)": "demonstrations",
    "index = serving.Shelf.of(run)": "ItemIndex",
    "catalogue.audience + 1": "user_counts",
    "Reliability of a teacher": "CalibrationCurve",
    "trails: list[Trail]": "PolicyDivergence",
    "isinstance(reward, Guided)": "HasSurrogate",
    "improved(pool, slates, reward)": "local_search",
    "policy.sharpen(0.5)": "apply_temperature",
    "def judge(self, rollout):": "compute_advantages",
    "logp, surprise = policy.choices(prefix)": "entropy",
    "chances = teacher.probabilities(histories)": "probabilities",
    "advantages / rollout.spread": "std",
    "kl_estimate(logp, batch.logp_student)": "ref_logp",
    'comparison["areas"]': "hull_areas",
    "in `start/` (the warm start)": "supervised_warmup/",
    "'kl from\nlast policy'": "approx_kl",
    '"check loss": loss': "val/loss",
    "If `valid ndcg@10` falls": "val/ndcg@10",
    "Of everything random.": "Random seed.",
    "The two are not told\n    apart.": "significantly different",
    "The same command goes on from there.": "resumes",
    "What was dropped is said.": "is reported",
    "A teacher that keeps what it promises": "calibrated",
    "0.3 nats a position": "nats per position",
    "(B, K) in order, one a user;": "one list per user",
    "and the books it keeps": "metadata",
}
ORDINARY = (
    "A bench in the park. The workbench, a benchmark and its numbers; bench: see there.",
    "The lessons of the paper: three. We learned lessons from it. An audience of engineers.",
    "Watch the loss; it may arrive late, or give nothing. Give it time.",
    "Intended Audience :: Science/Research",
    "The spread of the scores, a surprise to us, and the chances of success. Judge for yourself.",
    "What goes on inside? The list goes on with the next item. He is said to be right.",
    "The valid values of the option; a valid loss. The gradient norm and the clip fraction.",
    "Items that a user bought, lists a user has seen, the events of a user; in a second step.",
    "A teacher that promises much. A reward is a promise. A shelf, a guide, a trail of crumbs.",
    "An improved method (ours) was exchanged, located behind the wall and moved. On books only.",
    "It is steered by the target; the policy inherits weights; adopt a practice, sharpen a pencil.",
    "tests/start/ and src-start/ are folders; start the run; a warm start from earlier weights.",
)


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term["say"])
def test_every_term_has_a_replacement_and_a_reason(term):
    assert set(term) == {"pattern", "say", "reason"}
    assert all(term.values())


@pytest.mark.parametrize(("text", "say"), PRIVATE.items())
def test_private_words_are_found(text, say):
    (term,) = [term for term in TERMS if matches(term, text) and say in term["say"]]
    assert re.search(rf"(?<!\w){re.escape(say)}", term["say"])


def test_every_term_has_an_example():
    assert [term["say"] for term in TERMS if not any(matches(term, text) for text in PRIVATE)] == []


@pytest.mark.parametrize("sentence", ORDINARY)
def test_ordinary_english_is_free(sentence):
    assert [term["pattern"] for term in TERMS if matches(term, sentence)] == []


@pytest.fixture(scope="module")
def places() -> dict[str, list[str]]:
    """Where each pattern is found in this checkout."""
    found = runpy.run_path(str(ROOT / "benchmarks" / "structure.py"))["private_words"](ROOT)
    assert list(found) == [term["pattern"] for term in TERMS]
    return found


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term["say"])
def test_the_words_are_those_of_the_field(term, places):
    found = places[term["pattern"]]
    assert found == [], f"write {term['say']}: {term['reason']}"


def matches(term: dict[str, str], text: str) -> bool:
    """Whether the term is in a text; a blank of the pattern stands for any white space."""
    return re.search(term["pattern"].replace(" ", r"\s+"), text) is not None
