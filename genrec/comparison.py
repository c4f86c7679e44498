"""An aligned policy against its teacher, its student, baselines and re-rankers over grids of weights."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec import runs
from genrec.baselines import Markov, Popularity
from genrec.bench import Bench, folder_of
from genrec.data import Cases, Sequences
from genrec.experiment import ACCURACY, calibrated, open_recommender
from genrec.metrics import Floats, Slates, measure
from genrec.recommender import TopK
from genrec.rerankers import Pool, draw_pool, greedy, mmr, popularity_penalised, sog
from genrec.rewards import Diversity, Novelty, Relevance, Reward, WeightedSum, checked, weighted
from genrec.significance import holm, paired_t

HISTORIES_AT_ONCE = 1024

Lister = Callable[[Pool], NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Entrant:
    """One method at one weight: a row of the comparison.

    Attributes:
        method: such as "mmr".
        weight: of the grid; None for a method without one.
        lists: the lists for a pool of candidates and its histories.
        per_user: metric name -> values, one array a batch of histories.
        listed: (V+1,) which items were in a list so far.
    """

    method: str
    weight: float | None
    lists: Lister
    listed: NDArray[np.bool_]
    per_user: dict[str, list[Floats]] = field(default_factory=dict)

    def judge(
        self, pool: Pool, targets: Slates, objective: tuple[float, WeightedSum], metrics: dict[str, Reward]
    ) -> None:
        """Write the lists of a batch and keep what they are worth; the objective is weighted NDCG plus the goals."""
        slates = self.lists(pool)
        context = replace(pool.context, of_targets=targets)
        measured = dict(measure(slates, context, metrics).per_user)
        accuracy, goals = objective
        measured["objective"] = accuracy * measured[f"ndcg@{context.k}"] + goals(slates, context).sum(axis=1)
        for name, values in measured.items():
            self.per_user.setdefault(name, []).append(values.astype(np.float32))
        self.listed[np.unique(slates)] = True

    def values(self, name: str) -> Floats:
        """(N,) a metric of every case."""
        return np.concatenate(self.per_user[name])


def compare(bench: Bench, run: Path, users: int | None = None) -> dict[str, Any]:
    """Measure an aligned run and its competitors on the test cases.

    All re-rankers choose from the same pool, the teacher's best unseen items. The greedy re-ranker maximises the run's
    own reward with the teacher's calibrated probabilities in the place of the unknown target, its weights scaled over a
    grid. No method sees a test target.

    Args:
        bench: settings and data.
        run: folder of an aligned policy.
        users: measure only this many test cases, drawn with the seed; None for all.

    Returns:
        The comparison, also written to ``comparison.json`` in the run, with per-user values beside it.

    Raises:
        RunError: if the run is not an aligned one, or was made on other data.
    """
    settings, catalogue, k = bench.settings, bench.split.catalogue, bench.settings.k
    described = runs.read_json(run / "run.json")
    if described["kind"] != "aligned":
        raise runs.RunError(f"{run} is a {described['kind']} run; a run of `genrec align` is needed here")
    reward = weighted(described["rewards"])
    goals = WeightedSum(tuple((checked(term), weight) for term, weight in reward.terms if term.name not in ACCURACY))
    accuracy = sum(weight for term, weight in reward.terms if term.name in ACCURACY)
    teacher = calibrated(folder_of(run, "teacher"), bench)
    entrants = list(_entrants(bench, run, goals, accuracy))
    metrics: dict[str, Reward] = {term.name: term for term in (Diversity(), Novelty(), *(t for t, _ in goals.terms))}
    cases = _chosen(bench.split.test, users, settings.seed)

    log = runs.Logbook(None, "compare", bench.quiet)
    steps = range(0, len(cases), HISTORIES_AT_ONCE)
    with log.progress(len(steps)) as bar:
        for done, start in enumerate(steps, start=1):
            batch = cases.take(np.arange(start, min(start + HISTORIES_AT_ONCE, len(cases))))
            pool = draw_pool(teacher, batch.histories, catalogue, k, settings.compare.candidates, teacher.probabilities)
            for entrant in entrants:
                entrant.judge(pool, batch.targets, (accuracy, goals), metrics)
            bar(done, f"{len(entrants)} rows")

    popularity = next(entrant for entrant in entrants if entrant.method == "popularity")
    most = float(popularity.values(f"popularity@{k}").mean())
    rows = [_row(entrant, k, most) for entrant in entrants]
    goal = goals.terms[0][0].name if goals.terms else "ndcg"
    content = {
        "reward": goal,
        "weights": {term.name: weight for term, weight in reward.terms},
        "k": k,
        "dataset": Path(settings.dataset).name,
        "split": settings.split,
        "fingerprint": bench.split.fingerprint,
        "cases": len(cases),
        "seed": settings.seed,
        "candidates": settings.compare.candidates,
        "temperature": teacher.temperature,
        "versions": runs.versions(),
        "rows": rows,
        "gaps": gaps(entrants, f"{goal}@{k}", k),
    }
    runs.write_json(run / "comparison.json", content)
    _keep_users(run / "comparison_users.safetensors", entrants, k)
    return content


def gaps(entrants: Sequence[Entrant], axis: str, k: int) -> list[dict[str, Any]]:
    """How far the aligned policy lies above each re-ranker's curve, at the value of the goal that the policy reaches.

    Between two neighbouring weights a re-ranker can be mixed: each user gets the one list or the other with a fixed
    probability, so that the expected goal is exactly the policy's. Its NDCG is the same mix of the two, user by user,
    and the difference is tested in pairs over the users [Student 1908], with Holm's correction over the re-rankers.
    Where more than one pair of neighbours reaches the value, the one with the best NDCG counts.

    Args:
        entrants: judged.
        axis: metric of the goal, such as "diversity@10".
        k: list length.

    Returns:
        For each re-ranker: method, NDCG of the policy minus that of the mix, its standard error, the corrected p-value;
        None where no weight of the grid reaches that far.
    """
    aligned = next(entrant for entrant in entrants if entrant.method == "aligned")
    ndcg, level = aligned.values(f"ndcg@{k}"), float(aligned.values(axis).mean())
    found: list[dict[str, Any]] = []
    for method in dict.fromkeys(entrant.method for entrant in entrants if entrant.weight is not None):
        mix = _mixed([entrant for entrant in entrants if entrant.method == method], axis, level, k)
        test = None if mix is None else paired_t(ndcg, mix)
        error = None if mix is None else float((ndcg - mix).std(ddof=1) / np.sqrt(len(ndcg)))
        found.append({"method": method, "gap": test and test.difference, "error": error, "p": test and test.p_value})
    tested = [each for each in found if each["p"] is not None]
    for each, p_value in zip(tested, holm([each["p"] for each in tested]) if tested else [], strict=True):
        each["p"] = float(p_value)
    return found


def _mixed(curve: list[Entrant], axis: str, level: float, k: int) -> Floats | None:
    """(N,) NDCG of each user under the best mix of neighbouring weights whose mean goal is ``level``."""
    best: Floats | None = None
    for one, other in pairwise(curve):
        low, high = float(one.values(axis).mean()), float(other.values(axis).mean())
        if low == high or not min(low, high) <= level <= max(low, high):
            continue
        share = (level - low) / (high - low)
        mix: Floats = (1 - share) * one.values(f"ndcg@{k}") + share * other.values(f"ndcg@{k}")
        if best is None or mix.mean() > best.mean():
            best = mix
    return best


def _entrants(bench: Bench, run: Path, goals: WeightedSum, accuracy: float) -> Iterator[Entrant]:
    settings, k = bench.settings, bench.settings.k

    def entrant(method: str, weight: float | None, lists: Lister) -> Entrant:
        return Entrant(method, weight, lists, np.zeros(bench.split.catalogue.num_items + 1, dtype=bool))

    teacher = TopK(calibrated(folder_of(run, "teacher"), bench).scorer)
    grid = np.linspace(0, 1, settings.compare.weights).round(6).tolist()
    yield entrant("popularity", None, _listing(TopK(Popularity.fit(bench.split)).recommend, k))
    yield entrant("markov", None, _listing(TopK(Markov.fit(bench.split)).recommend, k))
    yield entrant("teacher", None, _listing(teacher.recommend, k))
    for weight in grid:
        yield entrant("mmr", weight, partial(mmr, k=k, weight=weight))
    for weight in grid:
        yield entrant("sog", weight, partial(sog, k=k, weight=weight))
    if any(term.name == "popularity" for term, _ in goals.terms):
        for weight in grid:
            yield entrant("popularity-sort", weight, partial(popularity_penalised, k=k, weight=weight))
    for scale in [] if not goals.terms else (np.asarray(grid) ** 2 * settings.compare.highest).round(6).tolist():
        terms = tuple((term, weight * scale) for term, weight in goals.terms)
        yield entrant("greedy", scale, partial(greedy, k=k, reward=WeightedSum(((Relevance(), accuracy), *terms))))
    student = open_recommender(folder_of(run, "student"), bench.device)
    yield entrant("student", None, _listing(student.recommend, k))
    if "start" in runs.read_json(run / "run.json"):
        begin = open_recommender(folder_of(run, "start"), bench.device)
        yield entrant("warm start", None, _listing(begin.recommend, k))
    yield entrant("aligned", None, _listing(open_recommender(run, bench.device).recommend, k))


def _listing(recommend: Callable[[Sequences, int], NDArray[np.int64]], k: int) -> Lister:
    """A recommender among the entrants: it looks at the histories of the pool only."""
    return lambda pool: recommend(pool.context.of_histories, k)


def _row(entrant: Entrant, k: int, most: float) -> dict[str, Any]:
    """Means over the cases; ``most`` is the popularity of the popularity recommender's lists."""
    means = {name: float(entrant.values(name).mean()) for name in entrant.per_user}
    return {
        "method": entrant.method,
        "weight": entrant.weight,
        **means,
        f"npcount@{k}": means[f"popularity@{k}"] / most,
        f"coverage@{k}": float(entrant.listed[1:].mean()),
    }


def _keep_users(path: Path, entrants: list[Entrant], k: int) -> None:
    """Per-user NDCG and objective of every row, for paired tests."""
    import torch

    kept = {}
    for entrant in entrants:
        name = entrant.method if entrant.weight is None else f"{entrant.method} {entrant.weight:g}"
        kept[f"{name}/ndcg@{k}"] = torch.from_numpy(entrant.values(f"ndcg@{k}").astype(np.float32))
        kept[f"{name}/objective"] = torch.from_numpy(entrant.values("objective").astype(np.float32))
    runs.save_tensors(path, kept)


def _chosen(cases: Cases, users: int | None, seed: int) -> Cases:
    if users is None or users >= len(cases):
        return cases
    return cases.take(np.sort(np.random.default_rng(seed).choice(len(cases), users, replace=False)))
