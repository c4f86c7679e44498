"""The measurement itself: every entrant on the same cases, written down in the run folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genrec.data import Cases
from genrec.evaluation.curves import OWN, gaps, gaps_along, policy_of
from genrec.evaluation.hypervolume import areas
from genrec.evaluation.methods import Entrant, Goals, line_up, over_seeds
from genrec.evaluation.policies import read_runs
from genrec.evaluation.side_effects import Trail, moved
from genrec.metrics.calibration import Calibrated
from genrec.pipeline.loading import calibrated
from genrec.pipeline.workspace import Workspace, folder_of
from genrec.rerankers import draw_pool
from genrec.rewards import ACCURACY, Diversity, Novelty, Reward, ranges_of
from genrec.training.checkpoint import save_tensors
from genrec.training.logger import Logbook
from genrec.training.run_directory import read_json, versions, write_json

HISTORIES_AT_ONCE = 1024


def compare(workspace: Workspace, run: Path, users: int | None = None) -> dict[str, Any]:
    """Measure an aligned run and its competitors on the test cases.

    All re-rankers choose from the same pool, the teacher's best unseen items. The greedy re-ranker
    maximises the run's own reward with the teacher's calibrated probabilities in the place of the
    unknown target, its weights scaled over a grid. Where a reward is paid at the end of a list,
    greedy follows the guide that the reward offers (``genrec.rerankers.HasSurrogate``), and greedy that
    looks ahead takes part as well. So do greedy's lists in the order of the teacher's
    probabilities, wherever that earns no less. No method sees a test target.

    Args:
        bench: settings and data.
        run: folder of an aligned policy.
        users: measure only this many test cases, drawn with the seed; None for all.

    A policy that was aligned for a range of weights takes part at a grid of them. The objective
    then has the middle weights.

    Returns:
        The comparison, also written to ``comparison.json`` in the run, with per-user values beside
        it.

    Raises:
        RunError: if the run is not an aligned one, or was made on other data.
    """
    return compare_runs(workspace, [run], run, users)


def compare_runs(
    workspace: Workspace, folders: Sequence[Path], out: Path, users: int | None = None
) -> dict[str, Any]:
    """``compare`` for several runs with the same rewards, teacher and student: together they are
    one curve, "aligned".

    Runs that differ in nothing but the seed are one point: the mean of each user's values. Its
    error counts the seeds as well as the users, √(s_users² / N + s_seeds² / S).

    Args:
        bench: settings and data.
        folders: of aligned policies, whose weights or ranges of weights may differ.
        out: receives ``comparison.json``.
        users: as for ``compare``.

    Raises:
        RunError: if a run is not an aligned one, or was made on other data.
        GenrecError: if runs were aligned for other rewards than each other.
    """
    settings, k = workspace.settings, workspace.settings.k
    aligned = read_runs(workspace, folders)
    reward, run = aligned.reward, aligned.runs[0]
    goals = Goals(
        tuple((term, weight) for term, weight in reward.terms if term.name not in ACCURACY),
        sum(weight for term, weight in reward.terms if term.name in ACCURACY),
    )
    teacher = calibrated(folder_of(run, "teacher"), workspace)
    entrants = list(line_up(workspace, aligned, goals))
    cases = _chosen(workspace.split.test, users, settings.seed)
    trails = _judge(workspace, entrants, goals, teacher, cases)
    entrants = over_seeds(entrants)

    goal = goals.terms[0][0].name if goals.terms else "ndcg"
    rewarded = [f"{term.name}@{k}" for term, _ in goals.terms]
    resampling = (settings.seed, settings.compare.resamples)
    content = {
        "reward": goal,
        "weights": {term.name: weight for term, weight in reward.terms},
        "ranges": {name: list(ends) for name, ends in ranges_of(aligned.span).items()},
        "k": k,
        "dataset": Path(settings.dataset).name,
        "split": settings.split,
        "fingerprint": workspace.split.fingerprint,
        "cases": len(cases),
        "seed": settings.seed,
        "candidates": settings.compare.candidates,
        "resamples": settings.compare.resamples,
        "temperature": teacher.temperature,
        "versions": versions(),
        "rows": _rows(entrants, k),
        "errors": [_errors(entrant) for entrant in entrants],
        "gaps": gaps(entrants, f"{goal}@{k}", k, *resampling),
        "gaps_along": gaps_along(entrants, f"{goal}@{k}", k),
        "areas": areas(entrants, f"{goal}@{k}", k, *resampling),
        "moved": moved(entrants, f"{goal}@{k}", rewarded),
        "seeds": [_seed_row(each, k) for entrant in entrants for each in entrant.members],
        "policy_weight": policy_of(entrants).weight,
        "policies": [trail.summary() for trail in trails],
    }
    _say_replaced(out / "comparison.json", content)
    write_json(out / "comparison.json", content)
    _keep_users(out / "comparison_users.safetensors", entrants, k)
    return content


def _say_replaced(file: Path, content: Mapping[str, Any]) -> None:
    """Warn where a comparison that the new one does not contain is about to be replaced."""
    before = read_json(file) if file.exists() else {}
    lost = []
    if (cases := before.get("cases", 0)) > content["cases"]:
        lost.append(f"{cases - content['cases']:,} of its {cases:,} cases")
    if points := _points(before) - _points(content):
        lost.append(f"{len(points)} of the {len(_points(before))} points of its aligned policies")
    if lost:
        Logbook(None, "").warn(f"{file} is replaced by a comparison without {' and '.join(lost)}")


def _points(content: Mapping[str, Any]) -> set[tuple[float | None, int | None]]:
    """(weight, seed) of the aligned policies of a comparison; the mean over seeds has seed None."""
    only = content.get("weights", {}).get(
        content.get("reward")
    )  # of a single weight, which is no curve
    rows = [
        row for row in (*content.get("rows", ()), *content.get("seeds", ())) if row["method"] == OWN
    ]
    return {(only if row["weight"] is None else row["weight"], row.get("seed")) for row in rows}


def _judge(
    workspace: Workspace,
    entrants: Sequence[Entrant],
    goals: Goals,
    teacher: Calibrated,
    cases: Cases,
) -> list[Trail]:
    """Let every entrant write its lists for the cases, batch by batch; policies leave a trail."""
    settings, k = workspace.settings, workspace.settings.k
    judged: dict[str, Reward] = {term.name: term for term, _ in goals.judged.terms}
    metrics = {term.name: term for term in (Diversity(), Novelty())} | judged
    trails = {
        entrant.method: Trail(entrant.method, entrant.policy)
        for entrant in entrants
        if entrant.policy
    }
    log = Logbook(None, "compare", workspace.quiet)
    steps = range(0, len(cases), HISTORIES_AT_ONCE)
    with log.progress(len(steps)) as bar:
        for done, start in enumerate(steps, start=1):
            batch = cases.take(np.arange(start, min(start + HISTORIES_AT_ONCE, len(cases))))
            pool = draw_pool(
                *(
                    teacher,
                    batch.histories,
                    workspace.split.catalogue,
                    k,
                    settings.compare.candidates,
                ),
                teacher.probabilities,
            )
            for entrant in entrants:
                slates = entrant.judge(pool, batch.targets, goals, metrics)
                if entrant.policy is not None:
                    trails[entrant.method].follow(trails["student"].policy, batch.histories, slates)
            bar(done, f"{len(entrants)} rows")
    return list(trails.values())


def _rows(entrants: Sequence[Entrant], k: int) -> list[dict[str, Any]]:
    """Means over the cases; npcount is popularity in units of the lists of the popularity
    recommender."""
    most = next(entrant for entrant in entrants if entrant.method == "popularity").mean(
        f"popularity@{k}"
    )
    return [
        {
            "method": entrant.method,
            "weight": entrant.weight,
            **{name: entrant.mean(name) for name in entrant.per_user},
            f"npcount@{k}": entrant.mean(f"popularity@{k}") / most,
            **{f"{name}@{k}": value for name, value in entrant.overall.items()},
        }
        for entrant in entrants
    ]


def _errors(entrant: Entrant) -> dict[str, float]:
    """The standard error of each mean, over the cases and, where there are several, over the
    seeds."""
    errors = {}
    for name in entrant.per_user:
        values = entrant.values(name).astype(np.float64)
        squared = values.var(ddof=1) / len(values)
        if entrant.members:
            squared += np.var([each.mean(name) for each in entrant.members], ddof=1) / len(
                entrant.members
            )
        errors[name] = float(np.sqrt(squared))
    return errors


def _seed_row(entrant: Entrant, k: int) -> dict[str, Any]:
    means = {name: entrant.mean(name) for name in entrant.per_user}
    overall = {f"{name}@{k}": value for name, value in entrant.overall.items()}
    return {
        "method": entrant.method,
        "weight": entrant.weight,
        "seed": entrant.seed,
        **means,
        **overall,
    }


def _keep_users(path: Path, entrants: Sequence[Entrant], k: int) -> None:
    """Per-user NDCG and objective of every row, for paired tests."""
    kept = {}
    for entrant in entrants:
        name = entrant.method if entrant.weight is None else f"{entrant.method} {entrant.weight:g}"
        kept[f"{name}/ndcg@{k}"] = torch.from_numpy(entrant.values(f"ndcg@{k}").astype(np.float32))
        kept[f"{name}/objective"] = torch.from_numpy(entrant.values("objective").astype(np.float32))
    save_tensors(path, kept)


def _chosen(cases: Cases, users: int | None, seed: int) -> Cases:
    if users is None or users >= len(cases):
        return cases
    return cases.take(np.sort(np.random.default_rng(seed).choice(len(cases), users, replace=False)))
