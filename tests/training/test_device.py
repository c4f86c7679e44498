import pytest
import torch

from genrec.models.config import TrainingConfig
from genrec.training import device as devices
from genrec.training.device import autocast, choose_device, with_precision


def test_a_device_by_name_or_the_best_there_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device() == torch.device("cpu")
    assert choose_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device() == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device() == torch.device("cuda")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "tpu", ""])
def test_a_device_that_is_not_there(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(
        ValueError, match=f"device '{name}' is not available here; choose auto or one of cpu"
    ):
        choose_device(name)


@pytest.mark.parametrize(("speedup", "chosen"), [(1.19, False), (1.2, True), (4.0, True)])
def test_the_precision_is_what_a_product_of_the_runs_shape_is_faster_in(
    speedup: float, chosen: bool, monkeypatch: pytest.MonkeyPatch
):
    shapes = []

    def timed(device: torch.device, shape: tuple[int, int, int]) -> float:
        shapes.append(shape)
        return speedup

    monkeypatch.setattr(devices, "bfloat16_speedup", timed)
    cpu, shape = torch.device("cpu"), (8192, 64, 32)
    assert with_precision(TrainingConfig(), cpu, shape).bf16 is chosen
    assert shapes == [shape]
    for fixed in (True, False):
        assert with_precision(TrainingConfig(bf16=fixed), cpu, shape).bf16 is fixed
    assert with_precision(TrainingConfig(), cpu, (8192, 64, 31)).bf16 is False  # a small one
    assert len(shapes) == 1


def test_products_run_in_bfloat16_only_where_it_is_decided():
    for decided, expected in ((True, torch.bfloat16), (False, torch.float32)):
        with autocast(torch.device("cpu"), decided):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected
    with autocast(torch.device("cpu"), "auto"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_the_speedup_is_a_ratio_of_times():
    found = devices.bfloat16_speedup(torch.device("cpu"), (64, 16, 32), repeats=1)
    assert 0 < found < 1000
