from pathlib import Path

import pytest

from genrec.config import reading as config
from genrec.config.errors import ConfigError
from genrec.config.reading import Settings, find_config, read_settings


def test_defaults_without_a_file():
    assert read_settings() == Settings()


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path: Path):
    (tmp_path / "run.yaml").write_text(
        "dataset: ml-1m\nk: 5\nteacher:\n  recipe: gsasrec\n  t: 0.5\n"
    )
    settings = read_settings(tmp_path / "run.yaml")
    assert (settings.dataset, settings.k, settings.teacher.recipe, settings.teacher.t) == (
        "ml-1m",
        5,
        "gsasrec",
        0.5,
    )
    assert settings.teacher.blocks == Settings().teacher.blocks
    assert settings.student == Settings().student


def test_overrides_win_over_known_values_and_these_over_the_file(tmp_path: Path):
    (tmp_path / "run.yaml").write_text("dataset: ml-1m\nseed: 1\nk: 5\n")
    settings = read_settings(
        tmp_path / "run.yaml", ["seed=3"], dataset="steam", seed=2, device=None
    )
    assert (settings.dataset, settings.seed, settings.k, settings.device) == ("steam", 3, 5, "auto")


def test_override_values_are_read_as_yaml():
    settings = read_settings(
        None,
        [
            "teacher.epochs=7",
            "teacher.learning_rate=1e-3",
            "teacher.bf16=false",
            "teacher.num_negatives=null",
        ],
    )
    assert settings.teacher.epochs == 7
    assert settings.teacher.learning_rate == 0.001
    assert settings.teacher.bf16 is False
    assert settings.teacher.num_negatives is None


def test_overrides_join_the_group_of_the_file_and_the_last_one_counts(tmp_path: Path):
    (tmp_path / "run.yaml").write_text("teacher:\n  recipe: bert4rec\n  epochs: 3\n")
    settings = read_settings(tmp_path / "run.yaml", ["teacher.epochs=4", " teacher.epochs =5"])
    assert (settings.teacher.recipe, settings.teacher.epochs) == ("bert4rec", 5)


def test_an_override_value_may_hold_an_equals_sign():
    assert read_settings(None, ["dataset=file.csv?x=1"]).dataset == "file.csv?x=1"


def test_an_unknown_key_lists_the_valid_ones_and_the_close_match():
    with pytest.raises(ConfigError) as caught:
        read_settings(None, ["teacher.learning_rat=1"])
    message = str(caught.value)
    assert message.startswith(
        "unknown setting teacher.learning_rat; did you mean learning_rate? Valid here: bf16, block,"
        " blocks, "
    )
    listed = message.split("Valid here: ")[1].split(", ")
    assert listed == sorted(config.TeacherSettings.model_fields)


def test_an_unknown_key_that_resembles_nothing():
    with pytest.raises(
        ConfigError,
        match=r"^unknown setting zzz\. Valid here: align, compare, dataset, device, hold_back, ",
    ):
        read_settings(None, ["zzz=1"])


def test_all_mistakes_are_named_at_once():
    with pytest.raises(ConfigError) as caught:
        read_settings(None, ["teacher.blocks=0", "studnet.epochs=2"])
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("setting teacher.blocks is 0: ")
    assert lines[1].startswith("unknown setting studnet; did you mean student?")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "teacher.blocks=0",
            "setting teacher.blocks is 0: input should be greater than or equal to 1",
        ),
        (
            "teacher.dropout=1.5",
            "setting teacher.dropout is 1.5: input should be less than or equal to 1",
        ),
        (
            "teacher.learning_rate=0",
            "setting teacher.learning_rate is 0: input should be greater than 0",
        ),
        (
            "teacher.epochs=many",
            "setting teacher.epochs is 'many': input should be a valid integer",
        ),
        (
            "split=random",
            "setting split is 'random': input should be 'leave-one-out' or 'global-time'",
        ),
        (
            "align.baseline=none",
            "setting align.baseline is 'none': input should be 'group' or 'critic'",
        ),
        ("teacher=5", "setting teacher is 5: "),
        ("seed=-1", "setting seed is -1: input should be greater than or equal to 0"),
    ],
)
def test_a_bad_value_is_named_with_what_it_should_be(override: str, message: str):
    with pytest.raises(ConfigError) as caught:
        read_settings(None, [override])
    assert str(caught.value).startswith(message)


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
        Settings().seed = 3


def test_every_setting_says_what_it_is():
    groups = [
        Settings,
        *(
            type(value)
            for value in dict(Settings()).values()
            if isinstance(value, config.BaseModel)
        ),
    ]
    assert len(groups) >= 5
    silent = [
        f"{group.__name__}.{name}"
        for group in groups
        for name, field in group.model_fields.items()
        if not field.description and not isinstance(field.default, config.BaseModel)
    ]
    assert silent == []


def shipped(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "teachers").mkdir(parents=True)
    (folder / "demo.yaml").write_text("k: 7\n")
    (folder / "teachers" / "gsasrec.yaml").write_text("k: 8\n")
    monkeypatch.setattr(config.resources, "files", lambda package: folder)


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
    folder = Path(str(config.resources.files("genrec.configs")))
    for path in folder.rglob("*.yaml"):
        read_settings(path.relative_to(folder))
