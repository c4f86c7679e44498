"""An evaluation of finished runs as a table and as sentences, for a terminal."""

from rich import box
from rich.table import Table
from rich.text import Text

from genrec.config.text import printable
from genrec.report.wording import number, p_value, signed
from genrec.results import CalibrationRow, EvaluationResult, SeedSummary


def evaluation_table(result: EvaluationResult) -> Table:
    """One row per run: recipe or kind, seed, metrics, minutes of training."""
    view = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    title = f"{result.dataset} · {result.cases:,} test users · lists of {result.k}"
    view.title = Text(printable(title, kept=""))
    names = list(result.runs[0].metrics)
    # Which run it is must stay readable where the table is too wide.
    for name in ("run", "name"):
        view.add_column(name, no_wrap=True)
    for name in ("seed", *names, "minutes"):
        view.add_column(Text(printable(name, kept="")), justify="right")
    for row in result.runs:
        minutes = "–" if row.minutes is None else f"{row.minutes:.1f}"
        values = [f"{row.metrics[name]:.4f}" for name in names]
        view.add_row(
            Text(printable(row.run, kept="")),
            Text(printable(row.name, kept="")),
            str(row.seed),
            *values,
            minutes,
        )
    return view


def evaluation_sentences(result: EvaluationResult) -> list[str]:
    """Means over seeds, differences from the first run, and calibration, one line each."""
    first = result.runs[0].run
    lines = [_seeds(summary, result.k) for summary in result.over_seeds]
    for each in result.against_first:
        difference, error = signed(each.difference, each.error)
        lines.append(
            f"{each.run} minus {first}: {difference} ± {error} NDCG@{result.k}, {p_value(each.p)}"
        )
    return lines + [_calibration(row, result.k) for row in result.calibration]


def _seeds(summary: SeedSummary, k: int) -> str:
    values = []
    for name in (f"ndcg@{k}", "recall@1", f"recall@{k}"):
        values.append(f"{name} {summary.mean[name]:.4f} ± {summary.std[name]:.4f}")
    seeds = ", ".join(map(str, summary.seeds))
    return f"{summary.name}, seeds {seeds}: {', '.join(values)} (mean ± standard deviation)"


def _calibration(row: CalibrationRow, k: int) -> str:
    predicted, observed = row.metrics[f"probability@{k}"], row.metrics[f"precision@{k}"]
    return (
        f"{row.run}, {row.link} probabilities: their sum is {row.sum_of_probabilities:.3g}; first"
        f" {k} items: predicted {number(predicted)}, observed {number(observed)}"
    )
