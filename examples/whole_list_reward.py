"""A reward for whole lists that no stepwise choice can maximise: a tour of the user's own genres.

A list should show ``genres`` of the genres that the user has seen before, while the mean popularity
of its items stays within a budget. The reward is paid at the last position: it is the share of
those genres that the list shows, and 0 where the list exceeds the budget. The value of an item
depends on all the others, so that the best list need not begin with the best item.

    genrec align --reward examples/whole_list_reward.py:tour=0.5 --out runs/tour
    genrec compare runs/tour

Greedy selection would see such a reward at the last position only, which would make it an unfair
baseline. ``tour`` therefore offers a dense surrogate: the same function of the unfinished list.
``genrec compare`` lets greedy selection maximise the surrogate, and adds a greedy method that
completes every list before it evaluates it. ``tour_as_it_grows`` is the surrogate as a reward of
its own, with the same sum over a list.

Run as a script, this file shows four lists for one user of a tiny catalogue, among them the best of
all lists:

    python examples/whole_list_reward.py
"""

from dataclasses import dataclass, field, replace
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from genrec.data import Sequences, make_catalogue
from genrec.metrics.context import Context, Floats, Slates
from genrec.rerankers import Pool, greedy, greedy_lookahead, with_surrogates
from genrec.rewards import Reward, Terminal, telescoped


@dataclass(frozen=True)
class Tour:
    """Value of a list, finished or not: min(shown genres of the user, m) / m, or 0 over budget.

    Attributes:
        genres: m, the number of genres to show; fewer where the user has seen fewer.
        budget: largest mean popularity of the items, in units of that of the K most popular items.
    """

    genres: int = 5
    budget: float = 0.25

    def __call__(self, slates: Slates, context: Context) -> Floats:
        """(n,) values of slates (n, j)."""
        catalogue, profile = context.catalogue, seen_genres(context)
        shown = (catalogue.features[slates].any(axis=1) & profile).sum(axis=1)
        wanted = np.minimum(self.genres, profile.sum(axis=1))
        unit = np.sort(catalogue.popularity)[-context.k :].mean() or 1.0
        cost = catalogue.popularity[slates].mean(axis=1) / unit
        value: Floats = np.minimum(shown, wanted) / np.maximum(wanted, 1) * (cost <= self.budget)
        return value


def seen_genres(context: Context) -> NDArray[np.bool_]:
    """(n, F) genres that occur in the history of each list; computed once per history."""
    if "seen genres" not in context.derived:
        events, features = context.of_histories, context.catalogue.features
        count = np.zeros((len(events), features.shape[1]))
        np.add.at(count, events.rows(), features[events.items])
        context.derived["seen genres"] = count
    seen: NDArray[np.bool_] = context.derived["seen genres"][context.rows] > 0
    return seen


@dataclass(frozen=True)
class TerminalWithSurrogate(Terminal):
    """A reward that is paid at the last position and offers a dense surrogate of itself.

    See ``genrec.rerankers.HasSurrogate``.
    """

    surrogate: Reward = field(kw_only=True)


def paid_at_the_end(value: Tour, name: str) -> TerminalWithSurrogate:
    """The reward of a tour, with the value of the unfinished list as its surrogate."""
    return TerminalWithSurrogate(value, name, surrogate=telescoped(value, name))


tour = paid_at_the_end(Tour(), "tour")
tour_as_it_grows = telescoped(Tour(), "tour_as_it_grows")


def tiny_pool() -> Pool:
    """A user who has seen a film of all six genres, and four candidates for a list of two.

    The most probable film, Hit, exceeds a budget of one half in any list. Wide shows the most
    genres (2-5), but no other film has both of those that it lacks. Left (1-3) and Right (4-6) show
    all six together.
    """
    genres = {"Past": "123456", "Hit": "12345", "Wide": "2345", "Left": "123", "Right": "456"}
    features = {name: list(digits) for name, digits in genres.items()}
    catalogue = make_catalogue(list(genres), features=features)
    catalogue = replace(catalogue, counts=np.array([0, 3, 10, 3, 2, 2]))
    probabilities = np.array([[0, 0, 0.4, 0.3, 0.2, 0.1]])
    context = Context(
        Sequences.from_lists([[1]]), np.array([0]), catalogue, k=2, of_probabilities=probabilities
    )
    return Pool(np.array([[2, 3, 4, 5]]), np.array([[0.4, 0.3, 0.2, 0.1]]), context)


def best_list(pool: Pool, k: int, reward: Reward) -> NDArray[np.int64]:
    """(1, k) the best list of one pool, found by evaluating all lists."""
    lists = np.array(list(permutations(pool.items[0].tolist(), k)))
    value = reward(lists, pool.context.take(np.zeros(len(lists), np.int64))).sum(axis=1)
    return lists[value.argmax()][None]


def main() -> None:
    """Print the lists of four methods and what they earn."""
    pool, reward = tiny_pool(), paid_at_the_end(Tour(genres=6, budget=0.5), "tour")
    lists = {
        "greedy": greedy(pool, 2, reward),
        "greedy with lookahead": greedy_lookahead(pool, 2, reward),
        "greedy on the surrogate": greedy(pool, 2, with_surrogates(reward)),
        "best of all lists": best_list(pool, 2, reward),
    }
    for name, slate in lists.items():
        titles = ", ".join(pool.context.catalogue.titles[slate[0]])
        print(f"{name}: {titles}: {reward(slate, pool.context).sum():.3f}")


if __name__ == "__main__":
    main()
