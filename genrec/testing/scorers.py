"""The contracts of scorers and of rankers, and that a saved scorer is the same."""

import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from genrec.data.sequences import Sequences
from genrec.recommender import Ranker, Scorer, top_k, unseen_scores
from genrec.testing.conditions import require, require_close
from genrec.testing.examples import example_histories


def check_scorer(scorer: Scorer, histories: Sequences | None = None) -> None:
    """Check that a scorer keeps its contract.

    It returns float32 scores (B, V+1) without gradients: -inf for PAD and finite for every item,
    seen or not. The scores are deterministic, and those of a history do not depend on the others in
    its batch. A scorer may return a table that it keeps: nothing writes into it. No histories at
    all give an empty table. A ``Ranker`` must also pass ``check_ranker``.

    Args:
        scorer: the scorer.
        histories: what to score, at least one; ``example_histories`` by default, for a scorer of at
            least 36 items.

    Raises:
        ContractError: naming the part of the contract.
    """
    histories = example_histories() if histories is None else histories
    for check in SCORER_CHECKS.values():
        check(scorer, histories)
    if isinstance(scorer, Ranker):
        check_ranker(scorer, histories)


def one_score_per_item(scorer: Scorer, histories: Sequences) -> None:
    """Scores are a float32 table without gradients, -inf for PAD and finite for all items."""
    scores = scorer.score(histories)
    expected = (len(histories), scorer.num_items + 1)
    require(scores.shape == expected, f"scores have shape {tuple(scores.shape)}, not {expected}")
    require(scores.dtype == torch.float32, f"scores are {scores.dtype}, not float32")
    require(not scores.requires_grad, "scores require gradients")
    require((scores[:, 0] == -torch.inf).all(), "column 0 (PAD) is not -inf")
    require(scores[:, 1:].isfinite().all(), "an item has no finite score; seen items need one too")


def repeatable_scores(scorer: Scorer, histories: Sequences) -> None:
    """Scoring again gives the same."""
    first = scorer.score(histories).clone()
    require(torch.equal(scorer.score(histories), first), "scoring again gives other scores")


def batch_independence(scorer: Scorer, histories: Sequences) -> None:
    """The scores of a history are the same in any batch, up to rounding; a batch may be empty."""
    together = scorer.score(histories).cpu().numpy()
    for n in range(len(histories)):
        alone = scorer.score(histories.take([n]))[0].cpu().numpy()
        message = f"scores of history {n} depend on its batch"
        require_close(alone, together[n], message, atol=1e-4, rtol=1e-5)
    empty = scorer.score(histories.take(np.arange(0)))
    require(empty.shape == (0, scorer.num_items + 1), "no histories give no empty table")


SCORER_CHECKS: Mapping[str, Callable[[Scorer, Sequences], None]] = MappingProxyType(
    {check.__name__: check for check in (one_score_per_item, repeatable_scores, batch_independence)}
)
"""Name -> check of a scorer on histories; ``check_scorer`` runs them all."""


def check_ranker(ranker: Ranker, histories: Sequences | None = None, *, k: int = 5) -> None:
    """Check that the best items of a ranker are those of its own scores.

    ``best`` returns the k unseen items of the largest scores, best first, ties in the order of the
    items, with exactly these scores.

    Args:
        ranker: the ranker.
        histories: what to rank for; ``example_histories`` by default. Each leaves k unseen items.
        k: number of items.

    Raises:
        ContractError: naming the part of the contract.
    """
    histories = example_histories() if histories is None else histories
    scores, items = ranker.best(histories, k)
    expected, order = top_k(unseen_scores(ranker, histories), k)
    message = "the best items are not those of the largest scores"
    require_close(items.cpu(), order.cpu(), message, atol=0)
    message = "the scores of the best items are not theirs"
    require_close(scores.float().cpu(), expected.float().cpu(), message, atol=0)


def check_saved_scorer(
    scorer: Scorer,
    directory: Path,
    load: Callable[[Path], Scorer],
    *,
    histories: Sequences | None = None,
) -> None:
    """Check that the scorer of a directory is the one that was saved, and that nothing is pickled.

    A pickle can run any code when it is loaded: keep JSON, safetensors or plain NumPy arrays.

    Args:
        scorer: the scorer that was saved.
        directory: where it was saved.
        load: makes the scorer of a directory.
        histories: what to score; ``example_histories`` by default.

    Raises:
        ContractError: naming the part of the contract.
    """
    histories = example_histories() if histories is None else histories
    loaded = load(directory)
    require(
        type(loaded) is type(scorer),
        f"loading gives a {type(loaded).__name__}, not a {type(scorer).__name__}",
    )
    same = torch.equal(loaded.score(histories), scorer.score(histories))
    require(same, "the loaded scorer has other scores")
    for path in sorted(directory.rglob("*")):
        require(not (path.is_file() and _holds_pickle(path)), f"{path} holds a pickle")


def _holds_pickle(path: Path) -> bool:
    """Whether a file is a pickle, or an archive with one, as ``torch.save`` writes."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".pkl") for name in archive.namelist())
    head = path.read_bytes()[:3]
    # A header of safetensors may start alike, with the length of the header; 0 is no opcode.
    is_protocol = head[:1] == b"\x80" and head[1:2] <= bytes([pickle.HIGHEST_PROTOCOL])
    return is_protocol and head[2:] not in (b"", b"\x00")
