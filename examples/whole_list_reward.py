"""A reward for whole lists, which no step-by-step choice serves: a tour of the user's own genres on
a budget.

A list is to show ``genres`` of the genres that the user has seen before, while the mean popularity
of its items stays under a budget. It is paid at the last position: the share of those genres that
it shows, and nothing where it is over budget. What an item is worth depends on all the others, so
that the best list need not begin with the best item.

    genrec align --reward examples/whole_list_reward.py:tour=0.5 --out runs/tour
    genrec compare runs/tour

Greedy selection would see such a reward at the last position only, which makes an unfair baseline.
So ``tour`` offers a
guide: the same function of the beginning of a list. ``genrec compare`` lets greedy follow it, and
    adds a greedy that
looks ahead at whole lists. ``tour_as_it_grows`` is the guide as a reward of its own, with the same
sum over a list.

Run as a script it shows four lists for one user of a tiny catalogue, the best of all lists among
them:

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
    """What a list is worth, whole or begun: min(genres of the profile in it, m) / m, and 0 over
    budget.

    Attributes:
        genres: m; fewer where the user has seen fewer.
        budget: largest mean popularity of the items, in units of the list of the K most popular.
    """

    genres: int = 5
    budget: float = 0.25

    def __call__(self, slates: Slates, context: Context) -> Floats:
        """(n,) for slates (n, j)."""
        catalogue, profile = context.catalogue, profiles(context)
        shown = (catalogue.features[slates].any(axis=1) & profile).sum(axis=1)
        wanted = np.minimum(self.genres, profile.sum(axis=1))
        unit = np.sort(catalogue.popularity)[-context.k :].mean() or 1.0
        cost = catalogue.popularity[slates].mean(axis=1) / unit
        worth: Floats = np.minimum(shown, wanted) / np.maximum(wanted, 1) * (cost <= self.budget)
        return worth


def profiles(context: Context) -> NDArray[np.bool_]:
    """(n, F) the genres that the history of each list has; worked out once a history."""
    if "genres of the past" not in context.derived:
        events, features = context.of_histories, context.catalogue.features
        count = np.zeros((len(events), features.shape[1]))
        np.add.at(count, events.rows(), features[events.items])
        context.derived["genres of the past"] = count
    seen: NDArray[np.bool_] = context.derived["genres of the past"][context.rows] > 0
    return seen


@dataclass(frozen=True)
class GuidedTerminal(Terminal):
    """A reward that is paid at the end and says what to follow on the way there
    (``genrec.rerankers.HasSurrogate``)."""

    surrogate: Reward = field(kw_only=True)


def paid_at_the_end(value: Tour, name: str) -> GuidedTerminal:
    """The reward of a tour, guided by the worth of what is there of a list."""
    return GuidedTerminal(value, name, surrogate=telescoped(value, name))


tour = paid_at_the_end(Tour(), "tour")
tour_as_it_grows = telescoped(Tour(), "tour_as_it_grows")


def tiny_pool() -> Pool:
    """A user who has seen a film of all six genres, and four candidates for a list of two.

    The most probable film, Hit, is over a budget of one half in any list. Wide shows the most
    genres (2-5), but no other film has both of those it lacks. Left (1-3) and Right (4-6) show all
    six together.
    """
    genres = {"Past": "123456", "Hit": "12345", "Wide": "2345", "Left": "123", "Right": "456"}
    catalogue = make_catalogue(
        list(genres), features={name: list(digits) for name, digits in genres.items()}
    )
    catalogue = replace(catalogue, counts=np.array([0, 3, 10, 3, 2, 2]))
    chances = np.array([[0, 0, 0.4, 0.3, 0.2, 0.1]])
    context = Context(
        Sequences.from_lists([[1]]), np.array([0]), catalogue, k=2, of_probabilities=chances
    )
    return Pool(np.array([[2, 3, 4, 5]]), np.array([[0.4, 0.3, 0.2, 0.1]]), context)


def best_list(pool: Pool, k: int, reward: Reward) -> NDArray[np.int64]:
    """(1, k) the best of all lists for one pool, by trying them."""
    lists = np.array(list(permutations(pool.items[0].tolist(), k)))
    worth = reward(lists, pool.context.take(np.zeros(len(lists), np.int64))).sum(axis=1)
    return lists[worth.argmax()][None]


def main() -> None:
    """Four ways to write the list, and what it earns."""
    pool, reward = tiny_pool(), paid_at_the_end(Tour(genres=6, budget=0.5), "tour")
    lists = {
        "greedy": greedy(pool, 2, reward),
        "greedy that looks ahead": greedy_lookahead(pool, 2, reward),
        "greedy that follows the guide": greedy(pool, 2, with_surrogates(reward)),
        "the best of all lists": best_list(pool, 2, reward),
    }
    for name, slate in lists.items():
        titles = ", ".join(pool.context.catalogue.titles[slate[0]])
        print(f"{name}: {titles}: {reward(slate, pool.context).sum():.3f}")


if __name__ == "__main__":
    main()
