"""Pictures of a comparison: size, bands, colours that readers can distinguish."""

from itertools import combinations

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from genrec import report
from genrec.report import pictures
from genrec.report.pictures import STYLES

# Machado et al. 2009, table 1, severity 1.
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}


def linear(colour: str) -> np.ndarray:
    """(3,) linear RGB [IEC 61966-2-1]."""
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """(3,) CIELAB of linear RGB, white D65."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ rgb.clip(0, 1) / [0.95047, 1, 1.08883]
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * 841 / 108 + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast_on_white(colour: str) -> float:
    """Contrast ratio of WCAG 2.1."""
    return 1.05 / (float(linear(colour) @ [0.2126, 0.7152, 0.0722]) + 0.05)


def test_picture_is_drawn_at_its_size(comparison, tmp_path):
    report.plot(comparison, tmp_path / "new" / "tradeoff.png")
    assert matplotlib.image.imread(tmp_path / "new" / "tradeoff.png").shape[:2] == (800, 1200)


def test_picture_of_an_unknown_metric_is_refused(comparison, tmp_path):
    with pytest.raises(
        ValueError, match=r"'serendipity@10'; there are ndcg@10, diversity@10, popularity@10$"
    ):
        report.plot(comparison, tmp_path / "x.png", x="serendipity@10")


def test_picture_has_bands_where_errors_are_known(comparison, full, tmp_path):
    report.plot(full, tmp_path / "bands.png")
    report.plot(comparison, tmp_path / "plain.png")
    bands, plain = (
        matplotlib.image.imread(tmp_path / f"{name}.png") for name in ("bands", "plain")
    )
    assert bands.shape == plain.shape
    assert (bands != plain).any()


def test_variants_of_a_method_share_its_colour_and_differ_in_the_line(
    comparison, make_row, tmp_path, monkeypatch
):
    rows = [
        make_row(variant, weight, 0.05 + weight / 100, 0.3)
        for variant in ("mmr-raw", "mmr-calibrated")
        for weight in (0.0, 1.0)
    ]
    drawn = {}
    draw = pictures._draw

    def watched(axes, rows, *, names, style, label):
        drawn[label.split("\n")[0]] = style
        draw(axes, rows, names=names, style=style, label=label)

    monkeypatch.setattr(pictures, "_draw", watched)
    content = comparison.model_copy(update={"rows": (*comparison.rows, *rows)})
    report.plot(content, tmp_path / "variants.png")
    styles = {name: style for name, style in drawn.items() if "MMR" in name}
    assert set(styles) == {"MMR", "MMR (raw scores)", "MMR (calibrated)"}
    assert len({style.colour for style in styles.values()}) == 1
    assert len({style.line for style in styles.values()}) == 3


def test_of_many_curves_the_best_variant_of_each_re_ranker_is_drawn(comparison, make_row):
    """Families a to g with two variants each; the areas say which one is better."""
    names = [f"{family}{variant}" for family in "abcdefg" for variant in ("", "-calibrated")]
    rows = [make_row(name, weight, 0.05, 0.3) for name in names for weight in (0.0, 1.0)]
    rows.append(make_row("teacher", None, 0.05, 0.3))
    areas = {name: 0.1 * len(name) for name in names} | {"c": 2.0}
    drawn = pictures._shown(rows, areas)
    kept = [f"{family}-calibrated" for family in "abdefg"]
    assert set(drawn) == {"teacher", "c", *kept}
    assert list(pictures._shown(rows[:24], areas)) == names[:12]  # these still fit


@pytest.mark.parametrize(
    "method",
    ["mmr", "sog", "dpp", "msd", "ssd", "steck", "xquad", "aligned", "teacher", "student"],
)
def test_colours_stand_out_on_white(method):
    """Graphics need a contrast of 3 [WCAG 2.1, 1.4.11]."""
    assert contrast_on_white(STYLES[method].colour) >= 3


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_colours_can_be_distinguished_by_colour_blind_readers(deficiency):
    """CIELAB distances of at least 15 between curves; 2.3 is just noticeable side by side."""
    curves = ("mmr", "sog", "dpp", "msd", "ssd", "steck", "xquad", "greedy", "aligned")
    colours = [STYLES[method].colour for method in curves]
    for one, other in combinations(colours, 2):
        seen = [lab(DEFICIENCIES[deficiency] @ linear(colour)) for colour in (one, other)]
        assert np.linalg.norm(seen[0] - seen[1]) >= 15, (one, other)


def test_markers_of_methods_differ():
    markers = [style.marker for style in STYLES.values()]
    assert len(set(markers)) == len(markers)


def test_calibration_curves_are_drawn(tmp_path):
    class Curve:
        precision = np.array([0.3, 0.2, 0.1])
        probability = np.array([0.5, 0.25, 0.1])

    report.plot_calibration({"teacher, own": Curve()}, tmp_path / "curves.png")
    assert matplotlib.image.imread(tmp_path / "curves.png").shape[:2] == (800, 1200)
