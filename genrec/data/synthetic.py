"""Made-up logs: a Markov chain of tunable randomness for tests, and the built-in ``demo``
dataset."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.data.dataset import Dataset, make_catalogue
from genrec.data.sequences import Sequences

DAY = 86_400
FIRST_DAY = 1_577_836_800  # 2020-01-01, UTC
SUCCESSOR_SHARES = (0.3, 0.2, 0.14, 0.1, 0.09, 0.07, 0.06, 0.04)
GENRE_WORDS = {
    "Action": "Strike Bullet Pursuit Fortress Rampage Convoy Blade Vendetta",
    "Adventure": "Voyage Island Compass Expedition Summit Treasure Jungle Horizon",
    "Animation": "Dragon Rabbit Balloon Puppet Meadow Lantern Cub Snowflake",
    "Comedy": "Wedding Holiday Neighbour Mixup Parade Waiter Sofa Prank",
    "Crime": "Heist Alibi Syndicate Ransom Detective Verdict Informer Vault",
    "Documentary": "Archive River Portrait Harvest Glacier Orchestra Atlas Factory",
    "Drama": "Harbour Letter Winter Orchard Daughter Promise Station Inheritance",
    "Fantasy": "Crown Sorcerer Prophecy Tower Oracle Realm Amulet Griffin",
    "Horror": "Cellar Whisper Graveyard Mirror Curse Attic Hollow Shadow",
    "Romance": "Kiss Garden Serenade Ballroom Sunset Sweetheart Bouquet Paris",
    "Sci-Fi": "Orbit Android Nebula Signal Colony Paradox Reactor Starship",
    "Thriller": "Witness Deadline Cipher Stranger Trap Hostage Motive Tunnel",
}
ADJECTIVES = (
    *(
        "Amber",
        "Broken",
        "Crimson",
        "Distant",
        "Eternal",
        "Fading",
        "Golden",
        "Hidden",
        "Iron",
        "Jade",
        "Kindred",
    ),
    *(
        "Lonely",
        "Midnight",
        "Northern",
        "Open",
        "Pale",
        "Quiet",
        "Restless",
        "Silver",
        "Tender",
        "Unseen",
        "Velvet",
    ),
    *("Wild", "Young"),
)


def chain(num_users: int, num_items: int, length: int, randomness: float, seed: int) -> Dataset:
    """Sequences of a first-order Markov chain over one fixed cycle through all items.

    The next item is the successor of the last one in the cycle with probability 1 - ``randomness``,
    else uniform over the items that the user has not seen. It is also uniform where the successor
    has been seen. No item comes twice in a sequence. 0 is perfectly predictable, 1 is noise.

    Args:
        num_users: U sequences.
        num_items: V items, all in the catalogue.
        length: events of each user, less than V.
        randomness: between 0 and 1.
        seed: of the cycle and of the sequences.

    Raises:
        GenrecError: if ``length`` leaves no unseen item, or ``randomness`` is not a probability.
    """
    if not 1 <= length < num_items:
        raise GenrecError(
            f"length {length} must be from 1 to num_items - 1 = {num_items - 1}: no item comes"
            " twice"
        )
    _require_probability("randomness", randomness)
    rng = np.random.default_rng(seed)
    cycle = rng.permutation(num_items)
    successor = np.empty(num_items, np.int64)
    successor[cycle] = np.roll(cycle, -1)
    every = np.arange(num_users)
    unseen = np.ones((num_users, num_items), dtype=bool)
    items = np.empty((num_users, length), dtype=np.int64)
    items[:, 0] = rng.integers(num_items, size=num_users)
    for step in range(length - 1):
        unseen[every, items[:, step]] = False
        following = successor[items[:, step]]
        jump = np.flatnonzero((rng.random(num_users) < randomness) | ~unseen[every, following])
        following[jump] = _draw(unseen[jump], rng)
        items[:, step + 1] = following
    lengths = np.full(num_users, length)
    return _dataset("chain", items, lengths, rng, _item_ids(num_items))


@dataclass(frozen=True)
class _World:
    """What the demo's users move in: item genres, popularity and successors, all 0-based."""

    genres: NDArray[np.bool_]  # (V, G)
    main_genre: NDArray[np.int64]  # (V,)
    successors: NDArray[np.int64]  # (V, S)
    taste: NDArray[
        np.float64
    ]  # (G, V): weight of each item for a user who is in the mood for a genre
    moods: NDArray[np.float64]  # (G,): how often a user is in the mood for a genre


def demo(
    num_users: int = 2000, num_items: int = 1000, predictability: float = 0.7, seed: int = 0
) -> Dataset:
    """The built-in dataset: a small film service whose users follow habits.

    Items have one to three of twelve genres and long-tailed popularity (weight of rank r: 1 / (r +
    10)^0.8). Every item has eight likely successors, mostly of its own genre, taken with shares
    from .3 down to .04. The next event of a user is an unseen successor of the last one with
    probability ``predictability``, else an unseen item by popularity and by the genre that the user
    is in the mood for, which changes now and then. So accurate lists are of one genre, and
    diversifying them costs accuracy.

    Args:
        num_users: U.
        num_items: V, at least 50.
        predictability: probability of following the successors, between 0 (taste only) and 1.
        seed: of everything.

    Raises:
        GenrecError: for fewer than 50 items or a ``predictability`` that is not a probability.
    """
    if num_items < 50:
        raise GenrecError(f"num_items is {num_items}; the demo needs at least 50 items")
    _require_probability("predictability", predictability)
    rng = np.random.default_rng(seed)
    world = _world(num_items, rng)
    longest = min(150, num_items // 2)
    lengths = np.clip(10 + rng.gamma(1.2, 26, num_users).astype(np.int64), 10, longest)
    lengths = -np.sort(
        -lengths
    )  # longest first, so that the users still active are always the first rows
    items = _walk(world, lengths, predictability, rng)
    order = rng.permutation(num_users)
    names = [
        [name for name, has in zip(GENRE_WORDS, row, strict=True) if has]
        for row in world.genres.tolist()
    ]
    ids = _item_ids(num_items)
    titles = dict(zip(ids, _titles(names, world.main_genre, rng), strict=True))
    return _dataset(
        "demo", items[order], lengths[order], rng, ids, titles, dict(zip(ids, names, strict=True))
    )


def _world(num_items: int, rng: np.random.Generator) -> _World:
    """Genres, popularity and successors of the demo's items."""
    num_genres = len(GENRE_WORDS)
    moods = rng.permutation(1 / (np.arange(num_genres) + 3))
    moods /= moods.sum()
    main = rng.choice(num_genres, num_items, p=moods)
    genres = np.zeros((num_items, num_genres), dtype=bool)
    for chance in (0.35, 0.1):
        genres[np.arange(num_items), rng.choice(num_genres, num_items, p=moods)] |= (
            rng.random(num_items) < chance
        )
    genres[np.arange(num_items), main] = True
    popularity = rng.permutation(1 / (np.arange(num_items) + 10.0) ** 0.8)
    taste = popularity * np.where(genres.T, 1.0, 0.01)
    related = popularity * (
        0.01 + (main[:, None] == main) + 0.25 * (genres.astype(float) @ genres.T > 1)
    )
    np.fill_diagonal(related, 0)
    keys = np.log(related, where=related > 0, out=np.full_like(related, -np.inf)) + rng.gumbel(
        size=related.shape
    )
    successors = np.argsort(-keys, axis=1)[
        :, : len(SUCCESSOR_SHARES)
    ]  # Gumbel: drawn without replacement
    return _World(genres, main, successors, taste, moods)


def _walk(
    world: _World, lengths: NDArray[np.int64], predictability: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """(U, longest) 0-based items of all users, step by step; lengths must descend."""
    num_users, num_items = len(lengths), len(world.main_genre)
    items = np.zeros((num_users, int(lengths[0])), dtype=np.int64)
    unseen = np.ones((num_users, num_items), dtype=bool)
    mood = rng.choice(len(world.moods), num_users, p=world.moods)
    for step in range(items.shape[1]):
        active = np.arange(int((lengths > step).sum()))
        drift = active[rng.random(len(active)) < 0.03]
        mood[drift] = rng.choice(len(world.moods), len(drift), p=world.moods)
        following = np.full(len(active), -1)
        if step:
            following = _follow(world.successors[items[active, step - 1]], unseen, rng)
            following[rng.random(len(active)) >= predictability] = -1
        free = np.flatnonzero(following < 0)
        following[free] = _draw(world.taste[mood[free]] * unseen[free], rng)
        items[active, step] = following
        unseen[active, following] = False
    return items


def _follow(
    successors: NDArray[np.int64], unseen: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.int64]:
    """One unseen successor a row by SUCCESSOR_SHARES; -1 where all of them are seen."""
    rows = np.arange(len(successors))
    weights = np.array(SUCCESSOR_SHARES) * unseen[rows[:, None], successors]
    chosen = successors[rows, _draw(weights, rng)]
    return np.where(weights.any(axis=1), chosen, -1)


def _draw(
    weights: NDArray[np.float64] | NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.int64]:
    """One column a row with probability in proportion to its weight; the last column where all
    weights are 0."""
    total = np.cumsum(weights, axis=1, dtype=np.float64)
    threshold = rng.random(len(weights))[:, None] * total[:, -1:]
    columns: NDArray[np.int64] = np.count_nonzero(total <= threshold, axis=1)
    return columns.clip(max=weights.shape[1] - 1)


def _titles(
    names: list[list[str]], main_genre: NDArray[np.int64], rng: np.random.Generator
) -> list[str]:
    """Titles such as "Amber Harbour (Drama)", all different."""
    main = [list(GENRE_WORDS)[genre] for genre in main_genre.tolist()]
    used: dict[str, int] = {}
    titles = []
    for genre, all_genres, draw in zip(
        main, names, rng.integers(1 << 30, size=len(names)).tolist(), strict=True
    ):
        nouns = GENRE_WORDS[genre].split()
        name = f"{ADJECTIVES[draw % len(ADJECTIVES)]} {nouns[draw // len(ADJECTIVES) % len(nouns)]}"
        used[name] = used.get(name, 0) + 1
        part = f" {used[name]}" if used[name] > 1 else ""
        titles.append(f"{name}{part} ({', '.join(all_genres)})")
    return titles


def _item_ids(num_items: int) -> list[str]:
    width = max(4, len(str(num_items)))
    return [f"item-{number:0{width}d}" for number in range(1, num_items + 1)]


def _dataset(
    name: str,
    items: NDArray[np.int64],
    lengths: NDArray[np.int64],
    rng: np.random.Generator,
    item_ids: list[str],
    titles: dict[str, str] | None = None,
    features: dict[str, list[str]] | None = None,
) -> Dataset:
    """A Dataset from 0-based items (U, T), of which each user has the first ``lengths``; times rise
    within a user."""
    kept = np.arange(items.shape[1]) < lengths[:, None]
    gaps = rng.integers(60, 3 * DAY, size=items.shape)
    gaps[:, 0] = rng.integers(0, 60 * DAY, size=len(items))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    width = max(4, len(str(len(items))))
    return Dataset(
        name=name,
        users=np.array(
            [f"user-{number:0{width}d}" for number in range(1, len(items) + 1)], dtype=np.str_
        ),
        sequences=Sequences(offsets, (items[kept] + 1).astype(np.int32)),
        timestamps=FIRST_DAY + np.cumsum(gaps, axis=1)[kept],
        catalogue=make_catalogue(item_ids, titles, features),
    )


def _require_probability(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise GenrecError(f"{name} is {value}; it must lie between 0 and 1")
