"""A run directory whose files were changed, swapped or damaged is refused with the file's name."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from genrec.config.errors import GenrecError, RunError
from genrec.config.writing import digest
from genrec.evaluation.comparison import compare
from genrec.pipeline import loading, stages
from genrec.pipeline.provenance import parent_run, verified
from genrec.pipeline.recommend import recommend_titles
from genrec.results import RunMetadata
from genrec.training.checkpoint import CHECKPOINT

CPU = torch.device("cpu")


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to be damaged."""
    return shutil.copytree(run, tmp_path / "copy")


def trust_files(run: Path) -> None:
    """Write the checksums of the files as they are now, as somebody who forges a run would."""
    metadata = RunMetadata.read(run)
    files = {name: digest(run / name) for name in metadata.files if (run / name).exists()}
    metadata.model_copy(update={"files": files}).write(run)


def change(path: Path, **changes: object) -> None:
    """Change the top of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_tensor(path: Path, name: str, tensor: torch.Tensor | None) -> None:
    """Replace a tensor of a file, or remove it."""
    tensors = {key: value for key, value in load_file(path).items() if key != name}
    save_file({**tensors, **({} if tensor is None else {name: tensor})}, path)


@pytest.mark.parametrize("kind", ["", "teacher", "student", "supervised_warmup"])
def test_every_file_that_a_run_is_loaded_from_is_checked(copy: Path, kind: str):
    run = copy / kind
    names = set(verified(run).files)
    model = "scorer" if kind == "teacher" else "model"
    assert {"plan.json", "items.json", "metrics.jsonl", f"{model}.safetensors"} <= names
    for name in sorted(names):
        content = (run / name).read_bytes()
        middle = len(content) // 2
        (run / name).write_bytes(content[:middle] + b"\x00" + content[middle + 1 :])
        with pytest.raises(RunError, match=rf"{name} was changed after its run had finished"):
            loading.open_recommender(run, CPU)
        (run / name).unlink()
        if name == "metrics.jsonl":  # a log may be removed
            loading.open_recommender(run, CPU)
        else:
            with pytest.raises(RunError, match=rf"{name} is missing: copy .* again from where"):
                loading.open_recommender(run, CPU)
        (run / name).write_bytes(content)
    loading.open_recommender(run, CPU)


def test_metadata_has_a_checksum_of_its_own(copy: Path):
    path = copy / "teacher" / "run.json"
    text = path.read_text()
    temperature = json.loads(text)["temperature"]
    path.write_text(text.replace(str(temperature), str(temperature * 2)))
    with pytest.raises(RunError, match=r"run\.json was changed after it was written"):
        loading.open_recommender(copy / "teacher", CPU)
    path.write_text(json.dumps(json.loads(text), sort_keys=True))  # the layout does not matter
    loading.open_recommender(copy / "teacher", CPU)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf"), "1.0", None])
def test_a_temperature_that_is_none(copy: Path, temperature: object, workspace):
    teacher = copy / "teacher"
    content = json.loads((teacher / "run.json").read_text())
    (teacher / "run.json").write_text(json.dumps({**content, "temperature": temperature}))
    with pytest.raises(RunError, match=r"run\.json"):
        loading.calibrated(teacher, workspace)


def test_what_people_add_later_breaks_nothing(copy: Path, workspace):
    expected = recommend_titles(copy, [], 4, device=CPU)
    compare(workspace, copy, users=10)
    (copy / "README.md").write_text("a card")
    (copy / "comparison.png").write_bytes(b"a picture")
    (copy / "notes.txt").write_text("mine")
    assert compare(workspace, copy, users=10).cases == 10
    assert recommend_titles(copy, [], 4, device=CPU) == expected
    assert stages.train_teacher(workspace, copy / "teacher") == copy / "teacher"


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("transformer.wpe.weight", None, r"wpe\.weight has the shape None"),
        ("transformer.ln_f.bias", None, r"transformer\.ln_f\.bias is missing"),
        ("transformer.ln_f.bias", torch.zeros(3), r"has the shape \(3,\), not \(16,\)"),
        ("transformer.ln_f.bias", torch.full((16,), torch.nan), "a number that is not finite"),
        ("transformer.ln_f.bias", torch.full((16,), torch.inf), "a number that is not finite"),
        ("transformer.extra", torch.zeros(3), r"transformer\.extra does not belong to it"),
        ("transformer.wte.weight", torch.zeros(9, 16), r"wte\.weight has the shape \(9, 16\), but"),
        ("transformer.h.5.ln_1.bias", torch.zeros(16), "has 2 blocks of width 16, but config.json"),
    ],
)
def test_weights_that_do_not_fit_a_policy(copy: Path, name, tensor, message):
    """Even where the checksums were forged."""
    change_tensor(copy / "model.safetensors", name, tensor)
    trust_files(copy)
    with pytest.raises(RunError, match=message):
        loading.open_recommender(copy, CPU)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_embd": 10**9}, r"has the shape \(62, 16\), but config\.json says \(62, 1000000000\)"),
        ({"n_layer": 10**9}, "has 1 blocks of width 16, but config.json says 1000000000"),
        ({"vocab_size": 10**9}, "has 60 items, but the policy has 999999998"),
        ({"n_head": 5}, "with 5 heads"),
        ({"n_head": "2"}, "n_head: Input should be a valid integer"),
        ({"layer_norm_epsilon": -1.0}, "layer_norm_epsilon: Input should be greater than 0"),
        ({"activation_function": "relu"}, "activation_function: Input should be 'gelu'"),
        ({"weight_ranges": {"diversity": [1.0, 0.0]}}, "config.json: .*diversity"),
        ({"weight_ranges": {"diversity": [0.0, 2.0]}}, r"conditioning\.safetensors does not exist"),
    ],
)
def test_a_configuration_that_does_not_fit_a_policy(copy: Path, changes, message):
    change(copy / "config.json", **changes)
    trust_files(copy)
    with pytest.raises(RunError, match=message):
        loading.open_recommender(copy, CPU)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("embedding.weight", None, r"embedding\.weight is missing"),
        ("embedding.weight", torch.zeros(5, 8), r"has the shape \(5, 8\), not \(62, 8\)"),
        ("embedding.weight", torch.full((62, 8), torch.nan), "a number that is not finite"),
        ("embedding.other", torch.zeros(1), "does not belong to it"),
    ],
)
def test_weights_that_do_not_fit_a_teacher(copy: Path, name, tensor, message):
    teacher = copy / "teacher"
    names = load_file(teacher / "scorer.safetensors").keys()
    assert "embedding.weight" in names
    change_tensor(teacher / "scorer.safetensors", name, tensor)
    trust_files(teacher)
    with pytest.raises(RunError, match=message):
        loading.open_recommender(teacher, CPU)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "sorcerer"},
        {"kind": None},
        {"kind": "markov"},
        {"num_items": 10**9},
        {"num_items": "60"},
        {"num_items": -1},
        {"score_offset": "high"},
        {"config": {"recipe": "als"}},
        {"config": {"recipe": "gsasrec", "depth": 3}},
        {"config": []},
    ],
)
def test_a_description_that_does_not_fit_a_teacher(copy: Path, changes):
    teacher = copy / "teacher"
    change(teacher / "scorer.json", **changes)
    trust_files(teacher)
    with pytest.raises(GenrecError, match=r"scorer\.json|recipe|depth|kind"):
        loading.open_recommender(teacher, CPU)


def test_a_vocabulary_of_another_dataset(copy: Path):
    items = json.loads((copy / "vocabulary.json").read_text())["items"]
    for changes, message in (
        ({"fingerprint": "f" * 16}, r"is that of another dataset \(fingerprint f{16}, not"),
        ({"items": [*items[1:], items[0]]}, "is that of another dataset"),
        ({"items": items[1:]}, r"vocabulary\.json has 59 items, but the policy has 60"),
        ({"items": 3}, r"vocabulary\.json must hold the texts"),
    ):
        change(copy / "vocabulary.json", **changes)
        trust_files(copy)
        with pytest.raises(RunError, match=message):
            loading.open_recommender(copy, CPU)


def test_another_teacher_or_student_in_the_place_of_the_own_one(
    copy: Path, make_workspace, workspace, tmp_path
):
    other = stages.train_teacher(make_workspace(teacher={"epochs": 1}), tmp_path / "other")
    shutil.rmtree(copy / "teacher")
    shutil.copytree(other, copy / "teacher")
    for child in (copy, copy / "student"):
        with pytest.raises(RunError, match="was made from another teacher than the one that is in"):
            parent_run(child, "teacher")
    with pytest.raises(RunError, match="was made from another teacher"):
        compare(workspace, copy, users=10)
    assert parent_run(copy, "student") == copy / "student"


def test_the_same_teacher_made_again_is_the_same_teacher(copy: Path, workspace, tmp_path):
    """Metrics have other seconds; the model has the same files."""
    again = stages.train_teacher(workspace, tmp_path / "again")
    shutil.rmtree(copy / "teacher")
    shutil.copytree(again, copy / "teacher")
    assert parent_run(copy, "teacher") == copy / "teacher"


def test_damaged_demonstrations_are_written_again(copy: Path, workspace, caplog):
    (cached,) = (copy / "teacher").glob("demonstrations-*")
    content = cached.read_bytes()
    cached.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    stages.train_student(workspace, copy / "teacher", copy / "new")
    assert "is damaged (its checksum differs)" in caplog.text
    assert cached.read_bytes() == content
    again = load_file(copy / "new" / "model.safetensors")
    expected = load_file(copy / "student" / "model.safetensors")
    assert all(torch.equal(again[name], expected[name]) for name in expected)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_teacher_of_somebody_elses_may_be_read_only(copy: Path, workspace):
    (cached,) = (copy / "teacher").glob("demonstrations-*")
    cached.unlink()
    (copy / "teacher").chmod(0o555)
    try:
        stages.train_student(workspace, copy / "teacher", copy / "new")
    finally:
        (copy / "teacher").chmod(0o755)


def test_a_checkpoint_that_was_left_behind_is_removed(copy: Path, workspace):
    """A process that was killed after run.json was written could not remove it."""
    (copy / "teacher" / CHECKPOINT).touch()
    stages.train_teacher(workspace, copy / "teacher")
    assert not (copy / "teacher" / CHECKPOINT).exists()


def test_a_plan_of_something_else_is_not_overwritten(workspace, tmp_path: Path):
    (tmp_path / "plan.json").write_text('{"tasks": ["buy milk"]}')
    with pytest.raises(RunError, match=r"plan\.json was written by another version"):
        stages.train_teacher(workspace, tmp_path)
    assert json.loads((tmp_path / "plan.json").read_text()) == {"tasks": ["buy milk"]}
