"""Tables, pictures, fronts and hypervolumes of a comparison."""

import io
import json
import pathlib

import matplotlib.image
import pytest
from rich.console import Console

from genrec import report
from genrec.report import pictures


def row(method, weight, ndcg, diversity, objective=None, popularity=0.002):
    return {
        "method": method, "weight": weight, "ndcg@10": ndcg, "diversity@10": diversity,
        "popularity@10": popularity, "objective": objective,
    }  # fmt: skip


@pytest.fixture
def comparison():
    """The teacher in one corner, MMR over 9 weights (best objective at 0.625), an aligned policy
    better than both."""
    curve = [
        row(
            "mmr",
            i / 8,
            0.10 - 0.005 * i,
            0.30 + 0.02 * i,
            objective=0.5 if i == 5 else 0.1 + 0.01 * i,
        )
        for i in range(9)
    ]
    points = [
        row("teacher", None, 0.11, 0.30, popularity=0.004),
        row("aligned", None, 0.10, 0.45, 0.4, 0.001),
    ]
    return {
        "rows": points + curve, "reward": "diversity", "k": 10, "dataset": "demo", "fingerprint": "ab" * 8,
        "cases": 1234, "seed": 1,
    }  # fmt: skip


def printed(view):
    console = Console(width=120, file=io.StringIO())
    console.print(view)
    return console.file.getvalue()


def test_hypervolumes_are_shares_of_the_box(comparison):
    comparison["rows"] = [
        row("a", None, 0.1, 0.0),
        row("b", None, 0.0, 0.2),
        row("c", None, 0.05, 0.1),
    ]
    assert report.hypervolumes(comparison) == pytest.approx({"a": 0.0, "b": 0.0, "c": 0.25})


def test_less_popularity_is_better(comparison):
    rows = [row("low", None, 0.1, 0, popularity=0.1), row("high", None, 0.1, 0, popularity=0.3)]
    comparison["rows"] = [*rows, row("bad", None, 0.0, 0, popularity=0.3)]
    assert report.hypervolumes(comparison, "popularity@10") == pytest.approx(
        {"low": 1.0, "high": 0.0, "bad": 0.0}
    )


def test_table_shows_five_weights_and_the_best(comparison):
    text = printed(report.table(comparison))
    assert [line.split()[:2] for line in text.splitlines() if line.startswith(" mmr")] == [
        ["mmr", "0"], ["mmr", "0.375"], ["mmr", "0.625"], ["mmr", "1"],
    ]  # fmt: skip
    assert "mmr: 4 of 9 weights" in text
    assert "lists of 10 · demo · 1,234 users" in " ".join(text.split())
    assert ".1100" in text


def test_table_marks_the_best_value(comparison):
    view = report.table(comparison)
    cells = {str(column.header).split("\n")[0]: list(column.cells) for column in view.columns}
    assert cells["ndcg"][:2] == ["[bold].1100[/bold]", ".1000"]
    assert cells["diversity"][1] == ".4500"
    assert cells["popularity ↓"][:2] == [".0040", "[bold].0010[/bold]"]
    assert cells["objective"][0] == "–"


def test_picture_is_drawn_at_its_size(comparison, tmp_path):
    report.plot(comparison, tmp_path / "new" / "tradeoff.png")
    assert matplotlib.image.imread(tmp_path / "new" / "tradeoff.png").shape[:2] == (800, 1200)


def test_picture_of_an_unknown_metric_is_refused(comparison, tmp_path):
    with pytest.raises(
        ValueError, match=r"'serendipity@10'; there are ndcg@10, diversity@10, popularity@10$"
    ):
        report.plot(comparison, tmp_path / "x.png", x="serendipity@10")


def test_reading_a_run(comparison, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no comparison\.json"):
        report.read(tmp_path)
    (tmp_path / "comparison.json").write_text(json.dumps(comparison))
    assert report.read(tmp_path) == comparison
    (tmp_path / "comparison.json").write_text('{"rows": [], "reward": "x", "k": 10}')
    with pytest.raises(ValueError, match="has no rows"):
        report.read(tmp_path)


def full(comparison):
    """The comparison with everything that is measured beside the rows."""
    gap = {
        "method": "mmr",
        "gap": 0.01234,
        "error": 0.0021,
        "low": 0.008,
        "high": 0.0165,
        "p": 0.00003,
    }
    far = {**dict.fromkeys(gap), "method": "sog-raw"}
    mmr = {"method": "mmr", "points": 9, "area": 0.25, "low": 0.2, "high": 0.3}
    own = {"method": "aligned", "points": 1, "area": 0.5, "low": 0.4, "high": 0.6}
    own |= dict.fromkeys(("behind", "behind_low", "behind_high", "p"))
    mmr |= {"behind": 0.25, "behind_low": 0.15, "behind_high": 0.35, "p": 0.002}
    box = {
        "axes": ["diversity@10", "ndcg@10"],
        "worst": [0.3, 0.06],
        "best": [0.46, 0.1],
        "methods": [mmr, own],
    }
    changes = {
        "novelty@10": {"difference": -0.25, "error": 0.01, "p": 0.01},
        "distinct": {"difference": 0.125},
    }
    same = {
        "novelty@10": {"difference": 0.0, "error": 0.01, "p": 1.0},
        "distinct": {"difference": 0.0},
    }
    moved = [
        {"method": "aligned", "weight": None, "with": "student", "changes": changes},
        {"method": "mmr", "weight": 0.5, "with": "teacher", "changes": same},
    ]
    policy = {"method": "aligned", "kl": [0.5] * 10, "entropy": [1.25] * 10}
    errors = [{"ndcg@10": 0.01}] * len(comparison["rows"])
    none = {"gap": None, "error": None}
    along = [
        {"weight": 0.1, "method": "mmr", "gap": -0.002, "error": 0.0013}, {"weight": 0.1, "method": "sog-raw", **none},
        {"weight": 2.0, "method": "mmr", **none}, {"weight": 2.0, "method": "sog-raw", "gap": 0.5, "error": 0.01},
    ]  # fmt: skip
    return {
        **comparison, "gaps": [gap, far], "gaps_along": along, "areas": box, "moved": moved, "policies": [policy],
        "errors": errors, "weights": {"relevance": 1, "diversity": 0.1}, "versions": {"genrec": "0.1.0"},
    }  # fmt: skip


def test_page_holds_every_table(comparison):
    text = report.page(full(comparison))
    sections = [line for line in text.splitlines() if line.startswith("## ")]
    assert len(sections) == len(set(sections)) == 7
    assert "Reward: 1 · relevance + 0.1 · diversity." in text
    assert "| MMR | +.0123 | .0021 | .0080 to .0165 | 3e-05 |" in text
    assert "| SOG (raw scores) | – | – | – | – |" in text
    assert "| weight | MMR | SOG (raw scores) |" in text
    assert "| 0.1 | -.0020 ± .0013 | – |\n| 2 | – | +.5000 ± .0100 |" in text
    assert "box diversity@10 .3000 to .4600 and ndcg@10 .0600 to .1000" in text
    assert "| MMR | 9 | .2500 | .2000 to .3000 | +.2500 | .1500 to .3500 | 0.002 |" in text
    assert "| aligned policy | 1 | .5000 | .4000 to .6000 | – | – | – |" in text
    assert "| aligned |  | student | -.2500 ± .0100\\* | +.1250 |" in text
    assert "| mmr | 0.5 | teacher | +.0000 ± .0100 | +.0000 |" in text
    assert f"| aligned | entropy | {' | '.join(['1.25'] * 10)} |" in text
    rows = text[text.index("## All rows") :].splitlines()
    assert len([line for line in rows if line.startswith("| mmr |")]) == 9
    best = text[: text.index("## Against")].splitlines()
    assert [line.split(" | ")[1] for line in best if line.startswith("| mmr |")] == ["0.625"]


def test_every_line_of_a_table_has_as_many_cells(comparison):
    """What a renderer needs: also where a row lacks a metric."""
    del comparison["rows"][0]["popularity@10"]
    for block in report.page(full(comparison)).split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1, block


def test_page_of_an_older_comparison(comparison):
    assert [line for line in report.page(comparison).splitlines() if line.startswith("## ")] == [
        "## Every method at its weight with the best objective",
        "## All rows",
    ]


def test_one_row_a_method(comparison):
    text = printed(report.table(comparison, rows_per_method=1))
    assert [line.split()[:2] for line in text.splitlines() if line.startswith(" mmr")] == [
        ["mmr", "0.625"]
    ]
    assert "of each re-ranker's weights the one with the best objective" in " ".join(text.split())


def test_picture_has_bands_where_errors_are_known(comparison, tmp_path):
    report.plot(full(comparison), tmp_path / "bands.png")
    report.plot(comparison, tmp_path / "plain.png")
    bands, plain = (
        matplotlib.image.imread(tmp_path / f"{name}.png") for name in ("bands", "plain")
    )
    assert bands.shape == plain.shape
    assert (bands != plain).any()


def test_variants_of_a_method_share_its_colour_and_differ_in_the_line(comparison):
    drawn = []
    for variant in ("mmr", "mmr-raw", "mmr-calibrated"):
        comparison["rows"] += [
            row(variant, weight, 0.05 + weight / 100, 0.3) for weight in (0.0, 1.0)
        ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            pictures, "_draw", lambda axes, rows, names, style, label: drawn.append((label, style))
        )
        patch.setattr(pictures, "_furnish", lambda *_: None)
        patch.setattr(pictures.Figure, "savefig", lambda *_: None)
        report.plot(comparison, pathlib.Path("nowhere.png"))
    lines = {label.split("\n")[0]: style for label, style in drawn if "MMR" in label}
    assert set(lines) == {"MMR", "MMR (raw scores)", "MMR (calibrated)"}
    assert len({colour for colour, _, _ in lines.values()}) == 1
    assert len({line for _, _, line in lines.values()}) == 3


def test_sentences_name_the_hardest_variant_and_the_largest_area(comparison):
    content = full(comparison)
    hard = {**content["gaps"][0], "method": "mmr-calibrated", "gap": -0.5, "p": 0.5}
    content["gaps"] = [content["gaps"][0], hard, content["gaps"][1]]
    assert report.sentences(content) == [
        "aligned against MMR (calibrated) at equal diversity: -0.5000 ± 0.0021 NDCG@10, corrected p"
        " = 0.5",
        "SOG: no weight of its grid has the diversity of the aligned policy",
        "hypervolume: aligned 0.500 with 1 point(s); MMR, the best re-ranker, 0.250 with 9;"
        " difference +0.250"
        " [+0.150, +0.350], corrected p = 0.002",
    ]


def test_sentences_say_how_far_the_policy_is_from_each_curve():
    gap = {"method": "mmr", "gap": 0.01234, "error": 0.0021, "p": 0.00003}
    far = {"method": "sog", "gap": None, "error": None, "p": None}
    assert report.sentences({"reward": "diversity", "k": 10, "gaps": [gap, far]}) == [
        "aligned against MMR at equal diversity: +0.0123 ± 0.0021 NDCG@10, corrected p = 3e-05",
        "SOG: no weight of its grid has the diversity of the aligned policy",
    ]
    assert report.sentences({"reward": "diversity", "k": 10}) == []
