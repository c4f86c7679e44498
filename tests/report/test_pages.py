"""A comparison as a page of Markdown."""

from genrec import report
from genrec.results import SeedRow


def sections(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("## ")]


def test_page_holds_every_table(full):
    text = report.page(full)
    assert len(sections(text)) == len(set(sections(text))) == 7
    assert "Reward: 1 · relevance + 0.1 · diversity." in text
    assert "| MMR | +.0123 | .0021 | .0080 to .0165 | 3e-05 |" in text
    assert "| SOG (raw scores) | – | – | – | – |" in text
    assert "| weight | MMR | SOG (raw scores) |" in text
    assert "| 0.1 | -.0020 ± .0013 | – |\n| 2 | – | +.5000 ± .0100 |" in text
    areas = "| MMR | 9 | .3000 to .4600 | .5000 | .2500 | +.2500 | .1500 to .3500 | 0.002 |"
    assert areas in text
    assert "| SOG (raw scores) | 3 | – | – | – | – | – | – |" in text
    assert "| aligned |  | student | -.2500 ± .0100\\* | +.1250 |" in text
    assert "| mmr | 0.5 | teacher | +.0000 ± .0100 | +.0000 |" in text
    assert f"| aligned | entropy | {' | '.join(['1.25'] * 10)} |" in text


def test_page_has_all_rows_and_the_best_of_each_method(full):
    text = report.page(full)
    rows = text[text.index("## All rows") :].splitlines()
    assert len([line for line in rows if line.startswith("| mmr |")]) == 9
    best = text[: text.index("## Difference")].splitlines()
    assert [line.split(" | ")[1] for line in best if line.startswith("| mmr |")] == ["0.625"]


def test_every_line_of_a_table_has_as_many_cells(full):
    """What a renderer needs: also where a row lacks a metric."""
    first, *others = full.rows
    metrics = {name: value for name, value in first.metrics.items() if name != "popularity@10"}
    rows = (first.model_copy(update={"metrics": metrics}), *others)
    for block in report.page(full.model_copy(update={"rows": rows})).split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1, block


def test_sections_without_content_are_left_out(comparison):
    assert sections(report.page(comparison)) == [
        "## Every method at its weight with the best objective",
        "## All rows",
    ]


def test_single_seeds_have_a_table(comparison):
    metrics = {"ndcg@10": 0.1, "diversity@10": 0.5}
    seeds = tuple(
        SeedRow(method="aligned", weight=0.3, seed=seed, metrics=metrics) for seed in (0, 1)
    )
    text = report.page(comparison.model_copy(update={"seeds": seeds}))
    assert "| weight | seed | ndcg@10 | diversity@10 |" in text
    assert "| 0.3 | 0 | .1000 | .5000 |\n| 0.3 | 1 | .1000 | .5000 |" in text
