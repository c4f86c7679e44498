"""Settings with values that are wrong, extreme or hostile, in YAML files and overrides."""

from pathlib import Path
from random import Random

from fault_injection.bytes_of import DAMAGES
from fault_injection.commands import run
from fault_injection.world import SETTINGS

KEYS = (
    "k", "seed", "hold_back", "split", "dataset", "device", "trackers", "teacher.recipe",
    "teacher.epochs", "teacher.learning_rate", "teacher.hidden_size", "teacher.dropout",
    "teacher.max_length", "teacher.tokens_per_step", "teacher.windows", "teacher.weight_decay",
    "teacher.loss", "teacher.loss.t", "teacher.negatives", "teacher.negatives.count",
    "teacher.objective", "teacher.objective.mask_share", "teacher.backbone",
    "teacher.backbone.heads",
    "teacher.backbone.blocks", "teacher.embedding", "teacher.embedding.splits", "teacher.bf16",
    "teacher.contrastive", "teacher.patience", "teacher.evaluate_every", "student.heads",
    "student.hidden_size", "align.agent", "align.kl", "align.clip", "align.group_size",
    "align.temperature", "compare.rerankers", "read.min_user_events", "read.time", "nothing", "",
)  # fmt: skip
VALUES = (
    "0", "1", "-1", "2", "3", "0.5", "1.5", "1e-3", "1e30", "1e400", "-1e400", ".nan", ".inf",
    "true",
    "false", "yes", "null", "010", "1:30", "1_000", "abc", "''", "[]", "[1, 2]", "{}", "{a: 1}",
    "{name: gbce}", "{name: gbce, t: 2}", "gsasrec", "bert4rec", "markov", "masked", "recjpq",
    "gru",
    "cl4srec", "uniform", "{name: uniform, count: 3}", "99999999999999999999", "2024-01-01",
    "'{evil}:fresh'", "{name: '{evil}:fresh'}", "evil:fresh", "!!python/object/apply:os.system [x]",
    "&a [*a]", "\\x1b[31m", "é",
)  # fmt: skip
EVIL = """
from pathlib import Path

Path({marker!r}).touch()


def fresh(*arguments, **options):
    raise ValueError
"""
LARGE = ("teacher.epochs", "teacher.patience", "teacher.hidden_size")
"""Keys with which a large value is no fault, but makes a long training."""


def try_once(folder: Path, random: Random) -> tuple[str, str]:
    """Train with damaged settings.

    Args:
        folder: with the log of the world; settings and runs of former tries are removed.
        random: chooses the damage.

    Returns:
        What was tried, and what is wrong; empty where nothing is.
    """
    marker, evil = folder / "executed", folder / "evil.py"
    evil.write_text(EVIL.format(marker=str(marker)))
    key, value = random.choice(KEYS), random.choice(VALUES).replace("{evil}", str(evil))
    text, overrides = SETTINGS, list[str]()
    how = random.choice(["override", "file", "file", "bytes"])
    if how == "override":
        # What the user names may run; a file may not.
        value = "1" if "evil" in value else value
        overrides = ["--set", f"{key}={value}"]
    elif how == "file":
        added = f"{SETTINGS}{_nested(key, value) if key else value}\n"
        text = _merged(SETTINGS, key, value) if random.random() < 0.8 else added
    else:
        damage = random.choice(DAMAGES)
        text = damage(text.encode(), random).decode("latin-1")
        key, value = damage.__name__, ""
    (folder / "settings.yaml").write_text(text, encoding="utf-8")
    arguments = ["train-teacher", "-c", "settings.yaml", *overrides, "-o", f"out-{random.random()}"]
    if key not in LARGE:
        arguments += ["--set", "teacher.epochs=1"]
    ended = run(arguments, folder)
    tried = f"{how} {key}: {value}"
    if marker.exists():
        marker.unlink()
        return tried, "code was executed"
    if not ended.is_clean:
        return tried, f"exit status {ended.status}: {ended.messages[-400:]}"
    if ended.status == 0 and "nan" in ended.output:
        return tried, f"trains to {ended.output}"
    return tried, ""


def _nested(key: str, value: str) -> str:
    """YAML of a dotted key."""
    *above, last = key.split(".")
    lines = [f"{'  ' * depth}{name}:" for depth, name in enumerate(above)]
    return "\n".join([*lines, f"{'  ' * len(above)}{last}: {value}"])


def _merged(text: str, key: str, value: str) -> str:
    """The settings with a value at a key, written anew so that no key comes twice."""
    import yaml

    content = yaml.safe_load(text)
    node, (*above, last) = content, key.split(".")
    for name in above:
        node = node.setdefault(name, {})
        if not isinstance(node, dict):
            return f"{text}\n{_nested(key, value)}\n"
    node[last] = "@@"
    return yaml.safe_dump(content).replace("'@@'", value)
