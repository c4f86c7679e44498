"""Synthetic logs: a Markov chain of adjustable randomness, and the built-in ``demo`` dataset."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.data.dataset import Catalogue, Dataset, make_catalogue
from genrec.data.sequences import Sequences

DAY = 86_400  # seconds
FIRST_DAY = 1_577_836_800  # 2020-01-01, UTC, in seconds since 1970
SUCCESSOR_SHARES = (0.3, 0.2, 0.14, 0.1, 0.09, 0.07, 0.06, 0.04)  # of the eight likely successors
SECONDARY_GENRES = (0.35, 0.1)  # probabilities of a second and a third genre
MOOD_CHANGE = 0.03  # probability per event that a user's mood changes
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
    "Amber", "Broken", "Crimson", "Distant", "Eternal", "Fading", "Golden", "Hidden", "Iron",
    "Jade", "Kindred", "Lonely", "Midnight", "Northern", "Open", "Pale", "Quiet", "Restless",
    "Silver", "Tender", "Unseen", "Velvet", "Wild", "Young",
)  # fmt: skip


def chain(*, num_users: int, num_items: int, length: int, randomness: float, seed: int) -> Dataset:
    """Sequences of a first-order Markov chain over one fixed cycle through all items.

    The next item is the successor of the last one in the cycle with probability 1 - ``randomness``,
    else uniform over the items that the user has not seen. It is also uniform if the successor has
    been seen. No item occurs twice in a sequence. With randomness 0 sequences are perfectly
    predictable, with 1 they are noise.

    Args:
        num_users: U sequences.
        num_items: V items, all in the catalogue.
        length: number of events per user, less than V.
        randomness: between 0 and 1.
        seed: random seed of the cycle and of the sequences.

    Raises:
        GenrecError: if ``length`` leaves no unseen item, or ``randomness`` is not a probability.
    """
    if not 1 <= length < num_items:
        raise GenrecError(
            f"length {length} must be from 1 to num_items - 1 = {num_items - 1}: no item occurs"
            " twice"
        )
    _require_probability("randomness", randomness)
    rng = np.random.default_rng(seed)
    cycle = rng.permutation(num_items)
    successor = np.empty(num_items, np.int64)
    successor[cycle] = np.roll(cycle, -1)
    users = np.arange(num_users)
    unseen = np.ones((num_users, num_items), dtype=bool)
    items = np.empty((num_users, length), dtype=np.int64)
    items[:, 0] = rng.integers(num_items, size=num_users)
    for step in range(length - 1):
        unseen[users, items[:, step]] = False
        following = successor[items[:, step]]
        jump = np.flatnonzero((rng.random(num_users) < randomness) | ~unseen[users, following])
        following[jump] = _draw(unseen[jump], rng)
        items[:, step + 1] = following
    lengths = np.full(num_users, length)
    catalogue = make_catalogue(_item_ids(num_items))
    return _dataset("chain", items, lengths=lengths, catalogue=catalogue, rng=rng)


@dataclass(frozen=True)
class _World:
    """The demo's items and how users choose among them, all 0-based.

    Attributes:
        genres: (V, G) genres of each item.
        main_genre: (V,) the genre that most successors share.
        successors: (V, S) likely successors of each item, the likeliest first.
        taste: (G, V) weight of each item for a user who is in the mood for a genre.
        moods: (G,) probability of being in the mood for each genre.
    """

    genres: NDArray[np.bool_]
    main_genre: NDArray[np.int64]
    successors: NDArray[np.int64]
    taste: NDArray[np.float64]
    moods: NDArray[np.float64]


def demo(
    *, num_users: int = 2000, num_items: int = 1000, predictability: float = 0.7, seed: int = 0
) -> Dataset:
    """The built-in dataset: a small film service whose users follow habits.

    Items have one to three of twelve genres and long-tailed popularity (weight of rank r:
    1 / (r + 10)^0.8). Every item has eight likely successors, mostly of its own genre, which are
    taken with shares from .3 down to .04. The next event of a user is an unseen successor of the
    last one with probability ``predictability``, else an unseen item drawn by popularity and by the
    genre that the user is in the mood for, which changes now and then. Accurate lists therefore
    consist of one genre, and diversifying them costs accuracy.

    Args:
        num_users: U.
        num_items: V, at least 50.
        predictability: probability of following the successors, between 0 (taste only) and 1.
        seed: random seed.

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
    lengths = -np.sort(-lengths)  # longest first: the users still active are the first rows
    items = _walk(world, lengths, predictability=predictability, rng=rng)
    order = rng.permutation(num_users)
    genre_names = np.array(list(GENRE_WORDS), dtype=object)
    names = [genre_names[row].tolist() for row in world.genres]
    ids = _item_ids(num_items)
    titles = dict(zip(ids, _titles(names, world.main_genre, rng), strict=True))
    catalogue = make_catalogue(ids, titles, dict(zip(ids, names, strict=True)))
    return _dataset("demo", items[order], lengths=lengths[order], catalogue=catalogue, rng=rng)


def _world(num_items: int, rng: np.random.Generator) -> _World:
    """Genres, popularity and successors of the demo's items."""
    num_genres = len(GENRE_WORDS)
    rows = np.arange(num_items)
    moods = rng.permutation(1 / (np.arange(num_genres) + 3))
    moods /= moods.sum()
    main = rng.choice(num_genres, num_items, p=moods)
    genres = np.zeros((num_items, num_genres), dtype=bool)
    for probability in SECONDARY_GENRES:
        further = rng.choice(num_genres, num_items, p=moods)
        genres[rows, further] |= rng.random(num_items) < probability
    genres[rows, main] = True
    popularity = rng.permutation(1 / (rows + 10.0) ** 0.8)
    taste = popularity * np.where(genres.T, 1.0, 0.01)
    two_common_genres = genres.astype(float) @ genres.T > 1
    related = popularity * (0.01 + (main[:, None] == main) + 0.25 * two_common_genres)
    np.fill_diagonal(related, 0)
    # The largest log weights plus Gumbel noise are a draw without replacement.
    keys = np.log(related, where=related > 0, out=np.full_like(related, -np.inf))
    keys = keys + rng.gumbel(size=related.shape)
    successors = np.argsort(-keys, axis=1)[:, : len(SUCCESSOR_SHARES)]
    return _World(genres=genres, main_genre=main, successors=successors, taste=taste, moods=moods)


def _walk(
    world: _World, lengths: NDArray[np.int64], *, predictability: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Items of all users, drawn event by event.

    Args:
        world: items and successors.
        lengths: (U,) number of events per user, descending.
        predictability: probability of following the successors.
        rng: random numbers.

    Returns:
        (U, longest) 0-based items; those after a user's length have no meaning.
    """
    num_users, num_items = len(lengths), len(world.main_genre)
    items = np.zeros((num_users, int(lengths[0])), dtype=np.int64)
    unseen = np.ones((num_users, num_items), dtype=bool)
    mood = rng.choice(len(world.moods), num_users, p=world.moods)
    for step in range(items.shape[1]):
        active = np.arange(int((lengths > step).sum()))
        changing = active[rng.random(len(active)) < MOOD_CHANGE]
        mood[changing] = rng.choice(len(world.moods), len(changing), p=world.moods)
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
    """One unseen successor per row, drawn by SUCCESSOR_SHARES; -1 if all of them are seen."""
    rows = np.arange(len(successors))
    weights = np.array(SUCCESSOR_SHARES) * unseen[rows[:, None], successors]
    chosen = successors[rows, _draw(weights, rng)]
    return np.where(weights.any(axis=1), chosen, -1)


def _draw(
    weights: NDArray[np.float64] | NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.int64]:
    """One column per row, drawn in proportion to its weight; the last one if all weights are 0."""
    total = np.cumsum(weights, axis=1, dtype=np.float64)
    threshold = rng.random(len(weights))[:, None] * total[:, -1:]
    columns: NDArray[np.int64] = np.count_nonzero(total <= threshold, axis=1)
    return columns.clip(max=weights.shape[1] - 1)


def _titles(
    names: list[list[str]], main_genre: NDArray[np.int64], rng: np.random.Generator
) -> list[str]:
    """Different titles such as "Amber Harbour (Drama)".

    Args:
        names: genres of each item.
        main_genre: (V,) index of the genre that the noun comes from.
        rng: random numbers.
    """
    main = [list(GENRE_WORDS)[genre] for genre in main_genre.tolist()]
    used: dict[str, int] = {}
    titles = []
    draws = rng.integers(1 << 30, size=len(names)).tolist()
    for genre, all_genres, draw in zip(main, names, draws, strict=True):
        nouns = GENRE_WORDS[genre].split()
        name = f"{ADJECTIVES[draw % len(ADJECTIVES)]} {nouns[draw // len(ADJECTIVES) % len(nouns)]}"
        used[name] = used.get(name, 0) + 1
        sequel = f" {used[name]}" if used[name] > 1 else ""
        titles.append(f"{name}{sequel} ({', '.join(all_genres)})")
    return titles


def _item_ids(num_items: int) -> list[str]:
    """Raw ids that sort in the order of their numbers."""
    width = max(4, len(str(num_items)))
    return [f"item-{number:0{width}d}" for number in range(1, num_items + 1)]


def _dataset(
    name: str,
    items: NDArray[np.int64],
    *,
    lengths: NDArray[np.int64],
    catalogue: Catalogue,
    rng: np.random.Generator,
) -> Dataset:
    """A Dataset of 0-based items, with random times that ascend within a user.

    Args:
        name: name of the dataset.
        items: (U, T).
        lengths: (U,) number of items of each user, the first ones of the row.
        catalogue: the items.
        rng: random numbers.
    """
    kept = np.arange(items.shape[1]) < lengths[:, None]
    gaps = rng.integers(60, 3 * DAY, size=items.shape)
    gaps[:, 0] = rng.integers(0, 60 * DAY, size=len(items))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    width = max(4, len(str(len(items))))
    users = [f"user-{number:0{width}d}" for number in range(1, len(items) + 1)]
    return Dataset(
        name=name,
        users=np.array(users, dtype=np.str_),
        sequences=Sequences(offsets, (items[kept] + 1).astype(np.int32)),
        timestamps=FIRST_DAY + np.cumsum(gaps, axis=1)[kept],
        catalogue=catalogue,
    )


def _require_probability(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise GenrecError(f"{name} is {value}; it must lie between 0 and 1")
