"""Settings of a run: files, overrides, short forms, and errors that name the key and the remedy."""

import subprocess
import sys
from pathlib import Path

import pytest

from genrec.config import files
from genrec.config.errors import ConfigError
from genrec.config.files import find_config
from genrec.models.choices import (
    CatalogueNegatives,
    GBCEConfig,
    PopularNegatives,
    SoftmaxConfig,
    TransformerConfig,
)
from genrec.pipeline.settings import (
    MOVED,
    GRPOAlignment,
    PPOAlignment,
    SB3Alignment,
    Settings,
    describe,
    read_settings,
    settings_of,
)
from genrec.recipes import PRESETS, ExternalTeacher, NeuralTeacher, recipe


def test_defaults_without_a_file():
    assert read_settings() == Settings()


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path: Path):
    (tmp_path / "run.yaml").write_text(
        "dataset: ml-1m\nk: 5\nteacher:\n  recipe: gsasrec\n  loss: {t: 0.5}\n"
    )
    settings = read_settings(tmp_path / "run.yaml")
    assert (settings.dataset, settings.k) == ("ml-1m", 5)
    assert settings.teacher == recipe("gsasrec", loss={"name": "gbce", "t": 0.5})
    assert settings.student == Settings().student


def test_overrides_win_over_known_values_and_these_over_the_file(tmp_path: Path):
    (tmp_path / "run.yaml").write_text("dataset: ml-1m\nseed: 1\nk: 5\n")
    settings = read_settings(
        tmp_path / "run.yaml", ["seed=3"], dataset="steam", seed=2, device=None
    )
    found = (settings.dataset, settings.seed, settings.k, settings.device)
    assert found == ("steam", 3, 5, "auto")


def test_override_values_are_read_as_yaml():
    overrides = ["teacher.epochs=7", "teacher.learning_rate=1e-3", "teacher.bf16=false"]
    settings = read_settings(None, [*overrides, "align.kl_target=null"])
    assert isinstance(settings.teacher, NeuralTeacher)
    assert (settings.teacher.epochs, settings.teacher.learning_rate) == (7, 0.001)
    assert settings.teacher.bf16 is False
    assert isinstance(settings.align, PPOAlignment)
    assert settings.align.kl_target is None


def test_overrides_join_the_section_of_the_file_and_the_last_one_counts(tmp_path: Path):
    (tmp_path / "run.yaml").write_text("teacher:\n  recipe: bert4rec\n  epochs: 3\n")
    settings = read_settings(tmp_path / "run.yaml", ["teacher.epochs=4", " teacher.epochs =5"])
    assert settings.teacher == recipe("bert4rec", epochs=5)


def test_an_override_value_may_hold_an_equals_sign():
    assert read_settings(None, ["dataset=file.csv?x=1"]).dataset == "file.csv?x=1"


# Components by name -------------------------------------------------------------------------------


def test_a_short_form_is_a_mapping_with_a_name():
    short = read_settings(None, ["teacher.recipe=gsasrec", "teacher.loss=softmax"])
    long = read_settings(None, ["teacher={recipe: gsasrec, loss: {name: softmax}}"])
    assert short == long
    assert short.teacher.loss == SoftmaxConfig()


def test_a_key_below_a_short_form_belongs_to_the_named_component():
    changes = ["teacher.recipe=sasrec", "teacher.loss=gbce", "teacher.loss.t=0.25"]
    assert read_settings(None, changes).teacher.loss == GBCEConfig(t=0.25)


def test_a_whole_section_by_its_short_form():
    teacher = read_settings(None, ["teacher=markov", "teacher.order=3"]).teacher
    assert teacher == recipe("markov", order=3)


def test_another_component_takes_over_the_keys_of_the_recipe_that_it_has_too():
    teacher = recipe("gsasrec", negatives="popular")
    assert teacher.negatives == PopularNegatives(count=256)
    assert recipe("gsasrec", negatives="catalogue", loss="bce").negatives == CatalogueNegatives()


def test_every_recipe_is_a_valid_preset_of_its_own_name():
    for name, preset in PRESETS.items():
        teacher = recipe(name)
        assert isinstance(teacher, NeuralTeacher)
        assert teacher.recipe == name
        assert set(preset.choices) >= {"backbone", "objective", "negatives", "loss"}
    assert recipe("bert4rec").backbone == TransformerConfig(causal=False)


def test_settings_survive_a_dump():
    for changes in (
        ["teacher.recipe=sasrec_rss", "teacher.objective.power=1.5"],
        ["teacher=als", "teacher.factors=7"],
        ["teacher.backbone=mine.py:Conv", "teacher.backbone.width=3"],
        ["align.agent=grpo", "align.kl=0.1"],
    ):
        settings = read_settings(None, changes)
        assert settings_of(settings.model_dump(mode="json")) == settings


def test_a_component_of_ones_own_keeps_its_settings_and_is_not_imported(tmp_path: Path):
    changes = ["teacher.backbone=no_such_module:Conv", "teacher.backbone.width=3"]
    backbone = read_settings(None, changes).teacher.backbone
    assert (backbone.name, backbone.options) == ("no_such_module:Conv", {"width": 3})
    teacher = read_settings(None, ["teacher.recipe=./mine.py:Scorer", "teacher.depth=2"]).teacher
    assert isinstance(teacher, ExternalTeacher)
    assert teacher.options == {"depth": 2}


def test_the_agent_decides_which_settings_an_alignment_has():
    assert isinstance(read_settings(None, ["align.agent=sb3"]).align, SB3Alignment)
    assert isinstance(read_settings(None, ["align.agent=grpo"]).align, GRPOAlignment)
    with pytest.raises(ConfigError, match=r"unknown setting align\.kl of sb3.* kl is a setting of"):
        read_settings(None, ["align.agent=sb3", "align.kl=0.1"])


def test_another_agent_leaves_settings_of_the_first_one_behind():
    start = read_settings(None, ["align.kl=0.5", "align.clip=0.3"])
    align = read_settings(None, ["align.agent=sb3", "align.histories=4"], start).align
    assert align == SB3Alignment(clip=0.3, histories=4)
    with pytest.raises(ConfigError, match=r"unknown setting align\.kl of sb3"):
        read_settings(None, ["align.agent=sb3", "align.kl=0.5"], start)


# Errors -------------------------------------------------------------------------------------------


def test_an_unknown_key_lists_the_valid_ones_and_the_close_match():
    with pytest.raises(ConfigError) as caught:
        read_settings(None, ["teacher.learning_rat=1"])
    message = str(caught.value)
    assert message.startswith(
        "unknown setting teacher.learning_rat of sasrec_softmax; did you mean learning_rate?"
        " Valid here: backbone, bf16, contrastive, "
    )
    listed = message.split("Valid here: ")[1].split(", ")
    assert listed == sorted(NeuralTeacher.model_fields)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["teacher.loss.t=0.5"], r"teacher\.loss\.t of softmax.* t is a setting of gbce"),
        (["teacher.mask_share=0.3"], r"teacher\.mask_share is now called teacher\.objective\.mask"),
        (["teacher=markov", "teacher.epochs=3"], r"unknown setting teacher\.epochs of markov\. "),
        (["teacher.negatives.count=9"], r"teacher\.negatives\.count of catalogue\. .* count is a"),
        (["teacher.backbone=gru", "teacher.backbone.heads=2"], r"heads of gru\. .* transformer"),
        (["zzz=1"], r"^unknown setting zzz\. Valid here: align, compare, dataset, device, hold_b"),
    ],
)
def test_a_setting_that_nothing_reads_is_refused(overrides: list[str], message: str):
    with pytest.raises(ConfigError, match=message):
        read_settings(None, overrides)


def test_the_error_for_every_former_key_names_the_new_one():
    for old, new in MOVED.items():
        with pytest.raises(ConfigError, match=f"setting {old} is now called {new.split(' ')[0]}"):
            read_settings(None, [f"{old}=1"])
    known = {setting.key for setting in describe()}
    assert {new.split(" ")[0] for new in MOVED.values()} <= known
    assert not known & MOVED.keys()


def test_all_mistakes_are_named_at_once():
    with pytest.raises(ConfigError) as caught:
        read_settings(None, ["teacher.backbone.blocks=0", "studnet.epochs=2"])
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("setting teacher.backbone.blocks is 0: ")
    assert lines[1].startswith("unknown setting studnet; did you mean student?")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "teacher.backbone.blocks=0",
            "setting teacher.backbone.blocks is 0: input should be greater than or equal to 1",
        ),
        (
            "teacher.dropout=1.5",
            "setting teacher.dropout is 1.5: input should be less than 1 (allowed: >= 0 and < 1)",
        ),
        ("teacher.learning_rate=0", "setting teacher.learning_rate is 0: input should be greater"),
        ("teacher.epochs=many", "setting teacher.epochs is 'many': input should be a valid integ"),
        ("split=random", "setting split is 'random': input should be 'leave-one-out' or"),
        ("align.baseline=none", "setting align.baseline is 'none': input should be 'group' or"),
        ("align.agent=a2c", "setting align.agent is 'a2c': unknown; choose one of ppo, sb3, grpo"),
        ("teacher.loss=gbc", "setting teacher.loss is 'gbc': unknown; did you mean 'gbce'? Choose"),
        ("teacher.recipe=sasrek", "setting teacher.recipe is 'sasrek': unknown; did you mean 'sas"),
        ("teacher.backbone=transformr", "setting teacher.backbone is 'transformr': unknown; did"),
        (
            "teacher.embedding.splits=4",
            "unknown setting teacher.embedding.splits of table. Valid he",
        ),
        ("teacher.negatives=uniform", "setting teacher.negatives.count is missing: Negatives dra"),
        ("teacher=5", "setting teacher is 5: give one of sasrec, "),
        ("seed=-1", "setting seed is -1: input should be greater than or equal to 0"),
    ],
)
def test_a_bad_value_is_named_with_what_it_should_be(override: str, message: str):
    with pytest.raises(ConfigError) as caught:
        read_settings(None, [override])
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["recipe=sasrec", "objective=masked"], "choose teacher.recipe=bert4rec, or teacher.obj"),
        (["recipe=gru4rec", "objective=masked"], "this backbone sees only what came before it"),
        (["recipe=bert4rec", "objective=shifted"], "choose teacher.objective=masked, last or rec"),
        (["recipe=sasrec", "objective=recency"], "choose teacher.negatives=catalogue, or teacher"),
        (["recipe=sasrec_rss", "negatives={name: popular, count: 4}"], "and popular negatives are"),
        (["loss=gbce"], "choose teacher.loss=bce, or teacher.negatives=uniform"),
        (["loss.logq=true"], "teacher.loss.logq corrects for sampled negatives"),
        (["contrastive=duorec", "dropout=0"], "set it to 0.1, or choose cl4srec"),
        (["embedding=recjpq", "hidden_size=20"], "20 is not a multiple of teacher.embedding.spl"),
        (["backbone.heads=3"], "hidden_size 64 is not a multiple of teacher.backbone.heads"),
        (
            ["recipe=sasrec", "negatives={shared: batch, reject_history: true}"],
            "set teacher.negatives.shared=sequence",
        ),
        (
            ["recipe=sasrec_rss", "objective={power: 1.0, decay: 0.5}"],
            "power replaces decay: leave one of them out",
        ),
    ],
)
def test_choices_that_do_not_fit_are_refused_with_a_remedy(changes: list[str], message: str):
    with pytest.raises(ConfigError) as caught:
        read_settings(None, [f"teacher.{change}" for change in changes])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["group_size=1"], "the group baseline needs at least 2 lists per history"),
        (["kl=0", "kl_target=0.1"], "there is no penalty to adapt"),
        (["agent=grpo", "group_size=1"], "raise align.group_size to 2 or more"),
        (["agent=grpo", "minibatches=3"], "TRL cuts 256 lists into equal minibatches"),
    ],
)
def test_an_alignment_that_cannot_learn_is_refused(changes: list[str], message: str):
    with pytest.raises(ConfigError) as caught:
        read_settings(None, [f"align.{change}" for change in changes])
    assert message in str(caught.value)


def test_an_override_that_is_no_assignment():
    with pytest.raises(ConfigError, match=r"--set teacher\.epochs: write key=value"):
        read_settings(None, ["teacher.epochs"])


def test_an_override_below_a_plain_value(tmp_path: Path):
    (tmp_path / "run.yaml").write_text("seed: 1\n")
    with pytest.raises(ConfigError, match=r"--set seed\.x: seed is not a group of settings"):
        read_settings(tmp_path / "run.yaml", ["seed.x=1"])


def test_an_override_that_is_not_yaml():
    with pytest.raises(ConfigError, match=r"--set dataset=\[: the value is not valid YAML"):
        read_settings(None, ["dataset=["])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [1", "run.yaml is not valid YAML"),
        ("- 1\n", "run.yaml must hold keys and values"),
        ("", "run.yaml must hold keys and values"),
    ],
)
def test_a_file_that_is_no_mapping(content: str, message: str, tmp_path: Path):
    (tmp_path / "run.yaml").write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_settings(tmp_path / "run.yaml")


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Settings().seed = 3  # type: ignore[misc]


def test_settings_are_read_without_torch():
    code = (
        "import sys; from genrec.pipeline.settings import describe, read_settings;"
        " read_settings(None, ['teacher=gsasrec', 'align.agent=grpo']); describe();"
        " heavy = {'torch', 'transformers', 'gymnasium', 'scipy', 'pandas'} & set(sys.modules);"
        " assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# Shipped configurations ---------------------------------------------------------------------------


def shipped(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "teachers").mkdir(parents=True)
    (folder / "demo.yaml").write_text("k: 7\n")
    (folder / "teachers" / "gsasrec.yaml").write_text("k: 8\n")
    monkeypatch.setattr(files.resources, "files", lambda package: folder)


def test_a_shipped_configuration_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    shipped(monkeypatch, tmp_path / "shipped")
    assert read_settings(Path("demo.yaml")).k == 7
    assert read_settings(Path("teachers/gsasrec.yaml")).k == 8
    Path("demo.yaml").write_text("k: 9\n")
    assert read_settings(Path("demo.yaml")).k == 9  # the user's own file comes first


def test_no_such_configuration_lists_the_shipped_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    shipped(monkeypatch, tmp_path / "shipped")
    with pytest.raises(
        ConfigError,
        match=r"no configuration dmo.yaml; .* shipped demo.yaml, teachers/gsasrec.yaml$",
    ):
        find_config(Path("dmo.yaml"))


def test_every_shipped_configuration_is_valid():
    folder = Path(str(files.resources.files("genrec.configs")))
    found = sorted(folder.rglob("*.yaml"))
    assert found
    for path in found:
        read_settings(path.relative_to(folder))


def test_published_settings_of_sasrec():
    """The shipped file has the hyper-parameters of SASRec's published code."""
    teacher = read_settings(find_config(Path("ml-1m-sasrec.yaml"))).teacher
    assert (teacher.hidden_size, teacher.max_length, teacher.dropout) == (50, 200, 0.2)
    assert (teacher.backbone.block, teacher.backbone.blocks) == ("sasrec", 2)
    assert (teacher.negatives.count, teacher.negatives.reject_history) == (1, True)
    assert teacher.tokens_per_step == 128 * 200
