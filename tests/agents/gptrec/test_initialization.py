import pytest
import torch

from genrec.agents.gptrec.initialization import initialize_from_teacher
from genrec.agents.gptrec.model import GPTRec
from genrec.data import Sequences
from genrec.models.build import build_scorer
from genrec.models.scorer import NeuralScorer
from genrec.recipes import NeuralTeacher, recipe

T = 6
HISTORY = [3, 1, 4, 9, 5, 2]


def teacher(name: str = "sasrec_softmax") -> NeuralScorer:
    config = recipe(name, hidden_size=8, backbone={"blocks": 2, "heads": 2}, max_length=T)
    assert isinstance(config, NeuralTeacher)
    scorer = build_scorer(config, num_items=9, seed=1)
    with torch.no_grad():
        for parameter in scorer.parameters():
            parameter += 0.3 * torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(len(parameter))
            )
        scorer.embedding.weight[0] = 0
    return scorer.eval()


def policy(**changes: int) -> GPTRec:
    sizes = {"hidden_size": 8, "blocks": 2, "heads": 2, "max_length": T} | changes
    return GPTRec(num_items=9, max_slate=4, dropout=0.0, **sizes).eval()


def scores_after_history(student: GPTRec) -> torch.Tensor:
    """Logits at the newest history item, read by the plain GPT-2 with our position ids T..1."""
    tokens, positions = torch.tensor([HISTORY]), torch.arange(T, 0, -1)[None]
    with torch.no_grad():
        mask = torch.ones(1, 1, T, T, dtype=torch.bool).tril()
        student.lm.set_attn_implementation("sdpa")
        return student.lm(input_ids=tokens, position_ids=positions, attention_mask=mask).logits[
            0, -1, 1:10
        ]


@pytest.mark.parametrize("blocks", [2, 3])
def test_the_student_scores_a_full_history_as_its_teacher_does(blocks: int):
    scorer, student = teacher(), policy(blocks=blocks)
    assert initialize_from_teacher(student, scorer)
    expected = scorer.score(Sequences.from_lists([HISTORY]))[0, 1:]
    assert expected.std() > 0.1
    assert torch.allclose(scores_after_history(student), expected, atol=1e-4)


@pytest.mark.parametrize("changes", [{"hidden_size": 16}, {"heads": 1}, {"blocks": 1}])
def test_other_shapes_take_the_item_vectors_only(changes: dict[str, int]):
    scorer, student = teacher(), policy(**changes)
    assert not initialize_from_teacher(student, scorer)
    table = student.lm.transformer.wte.weight[:10, :8]
    assert torch.equal(table, scorer.embedding.vectors())


def test_a_bidirectional_teacher_gives_its_item_vectors_only():
    assert not initialize_from_teacher(policy(), teacher("bert4rec"))


def test_wider_vectors_keep_their_products():
    wide = torch.zeros(10, 12)
    wide[1:, :3] = torch.randn(
        9, 3, generator=torch.Generator().manual_seed(0)
    )  # rank 3 fits into 8 dimensions
    student = policy()
    student.load_item_vectors(wide)
    table = student.lm.transformer.wte.weight[:10]
    assert torch.allclose(table @ table.T, wide @ wide.T, atol=1e-4)
