import pytest
import torch

from genrec.training.device import autocast, choose_device, half_precision_pays


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


@pytest.mark.parametrize("instructions", ["amx_bf16", "avx512_bf16"])
def test_bfloat16_is_for_processors_with_instructions_for_it(
    instructions: str, monkeypatch: pytest.MonkeyPatch
):
    cpu = torch.device("cpu")
    for there in (True, False):
        able = {"amx_bf16": False, "avx512_f": True, instructions: there}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        assert half_precision_pays(cpu) is there
        with autocast(cpu, enabled=True):
            product = torch.ones(2, 2) @ torch.ones(2, 2)
        assert product.dtype == (torch.bfloat16 if there else torch.float32)
        with autocast(cpu, enabled=False):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert not half_precision_pays(torch.device("mps"))
