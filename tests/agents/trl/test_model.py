"""GPTRec as a causal language model: tokens, masks and probabilities are the policy's."""

import pytest
import torch
from transformers import AutoTokenizer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from genrec.agents.gptrec.decoding import sample
from genrec.agents.gptrec.model import GPTRec
from genrec.agents.trl.model import IGNORED, ListModel, item_tokenizer
from genrec.data import Sequences

V, K, SEP = 8, 3, 9
# the last history is longer than what the policy reads: items 6 and 4 lie before its window
HISTORIES = Sequences.from_lists([[1], [2, 3], [3, 3], [], [6, 4, 1, 2, 3]])
SLATES = torch.tensor([[2, 3, 4], [8, 1, 5], [1, 2, 4], [1, 2, 3], [5, 8, 7]])


@pytest.fixture(scope="module")
def policy() -> GPTRec:
    torch.manual_seed(0)
    policy = GPTRec(
        V, hidden_size=16, blocks=2, heads=2, max_length=3, max_slate=K, dropout=0.5
    ).eval()
    with torch.no_grad():
        policy.lm.transformer.wte.weight.mul_(20)  # far from uniform
    return policy


def rows(side: str, slates: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """(tokens, attention mask) of histories, SEP and lists, padded on one side."""
    whole = [[*HISTORIES[i].tolist(), SEP, *slate] for i, slate in enumerate(slates)]
    width = max(map(len, whole)) + 1
    padded = [
        [0] * (width - len(row)) + row if side == "left" else row + [0] * (width - len(row))
        for row in whole
    ]
    tokens = torch.tensor(padded)
    return tokens, (tokens > 0).long()


def labels_of(tokens: torch.Tensor) -> torch.Tensor:
    """The list items, found by counting the SEPs so far."""
    behind = ((tokens == SEP).cumsum(dim=1) > 0) & (tokens != SEP) & (tokens > 0)
    return torch.where(behind, tokens, IGNORED)


@pytest.mark.parametrize("side", ["left", "right"])
def test_log_probabilities_are_those_of_the_policy(policy, side):
    tokens, mask = rows(side, SLATES.tolist())
    labels = labels_of(tokens)
    with torch.no_grad():
        output = ListModel(policy).train()(tokens, mask, labels)
        halved = ListModel(policy)(tokens, mask, labels, num_items_in_batch=2 * 5 * K)
        expected = policy.logp(HISTORIES, SLATES[:, None])[:, 0]
        p = policy.log_distribution(HISTORIES, SLATES[:, None])[:, 0].clamp(min=-1e9)
    assert expected.std() > 0.5
    torch.testing.assert_close(
        output.log_probs[labels[:, 1:] != IGNORED].view(5, K), expected, rtol=0, atol=1e-5
    )
    assert output.log_probs.shape == (5, tokens.shape[1] - 1)
    assert torch.equal(output.label_mask, labels[:, 1:] != IGNORED)
    assert (output.log_probs[~output.label_mask] == 0).all()
    assert float(output.loss) == pytest.approx(-float(expected.mean()), abs=1e-5)
    assert float(halved.loss) == pytest.approx(float(output.loss) / 2)
    entropy = -(p.exp() * p).sum(dim=2)
    torch.testing.assert_close(
        output.entropy[output.label_mask].view(5, K), entropy, rtol=0, atol=1e-4
    )


def test_the_gradient_is_the_policys_own(policy):
    tokens, mask = rows("left", SLATES.tolist())
    found = []
    ours = -policy.logp(HISTORIES, SLATES[:, None]).mean()
    for loss in (ListModel(policy)(tokens, mask, labels_of(tokens)).loss, ours):
        policy.zero_grad()
        loss.backward()
        found.append([p.grad.clone() for p in policy.parameters() if p.grad is not None])
    assert len(found[0]) == len(found[1]) > 10
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("side", ["left", "right"])
def test_logits_of_lists_of_any_length_never_allow_what_is_blocked(policy, side):
    lists = [[2, 3], [], [1], [4], [5, 8]]
    tokens, mask = rows(side, lists)
    logits = ListModel(policy)(tokens, mask).logits
    for row, (history, done) in enumerate(
        zip([[1], [2, 3], [3], [], [6, 4, 1, 2, 3]], lists, strict=True)
    ):
        at = int((tokens[row] == SEP).nonzero())
        assert (logits[row, :at] == 0).all()
        for t in range(len(done) + 1):
            allowed = [item for item in range(1, V + 1) if item not in [*history, *done[:t]]]
            assert torch.isfinite(logits[row, at + t]).nonzero().flatten().tolist() == allowed
        slate = torch.tensor([[[*done, 0]]])
        expected = policy.log_distribution(Sequences.from_lists([HISTORIES[row]]), slate)[0, 0]
        found = torch.log_softmax(logits[row, at : at + len(done) + 1], dim=1)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_rows_and_labels_that_mean_nothing_are_refused(policy):
    model = ListModel(policy)
    tokens, mask = rows("left", SLATES.tolist())
    with pytest.raises(ValueError, match=r"one SEP \(token 9\)"):
        model(tokens.masked_fill(tokens == SEP, 1), mask)
    with pytest.raises(ValueError, match=r"one SEP \(token 9\)"):
        model(tokens.index_fill(1, torch.tensor([-1]), SEP), mask)
    with pytest.raises(ValueError, match="give -100 up to SEP and at padding"):
        model(tokens, mask, tokens)
    other = labels_of(tokens)
    other[0, -1] = 7  # not the item that is there
    with pytest.raises(ValueError, match="labels may name the items of the list only"):
        model(tokens, mask, other)


def test_dropout_stays_off_while_training(policy):
    model = ListModel(policy)
    assert model.train().training
    assert not policy.training
    assert policy.lm.transformer.drop.p == 0.5


def test_tokens_are_our_indices():
    tokenizer = item_tokenizer(["318", "50", "a b", "1"])
    assert (tokenizer.pad_token_id, tokenizer.sep_token_id, len(tokenizer)) == (0, 5, 6)
    assert tokenizer("1 a␣b 318 <sep> 50")["input_ids"] == [4, 3, 1, 5, 2]
    batch = tokenizer(["1 <sep>", "50 318 1 <sep>"], padding=True, return_tensors="pt")
    assert batch["input_ids"].tolist() == [[0, 0, 4, 5], [2, 1, 4, 5]]
    assert batch["attention_mask"].tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]
    assert tokenizer.batch_decode([[4, 2], [0, 3, 5]]) == ["1 50", "<pad> a␣b <sep>"]
    assert tokenizer.decode([0, 3, 5], skip_special_tokens=True) == "a␣b"
    with pytest.raises(Exception, match="UNK"):
        tokenizer("51")


@pytest.mark.parametrize("ids", [["1", ""], ["1", "1"], ["a b", "a\tb"], ["<pad>"], ["<sep>", "2"]])
def test_ambiguous_item_ids_are_refused(ids):
    with pytest.raises(ValueError, match="is empty or stands for two tokens"):
        item_tokenizer(ids)


def test_tokenizer_and_model_share_a_directory(policy, tmp_path):
    ids = [f"i{item}" for item in range(1, V + 1)]
    item_tokenizer(ids).save_pretrained(tmp_path)
    policy.save_pretrained(tmp_path, ids, "data")
    loaded, found, _ = GPTRec.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert found == ids
    assert tokenizer.padding_side == "left"
    batch = tokenizer(["i1 <sep> i2 i3", "i2 i3 <sep> i8 i1"], padding=True, return_tensors="pt")
    assert batch["input_ids"].tolist() == [[0, 1, 9, 2, 3], [2, 3, 9, 8, 1]]
    output = ListModel(loaded)(
        batch["input_ids"], batch["attention_mask"], labels_of(batch["input_ids"])
    )
    expected = policy.logp(HISTORIES.take([0, 1]), SLATES[:2, None, :2])[:, 0]
    torch.testing.assert_close(output.log_probs[:, -2:], expected, rtol=0, atol=1e-5)


def test_supervised_learning_of_lists_in_trls_format_has_our_loss(policy):
    """TRL's collator on prompt = history + SEP, completion = list: the loss of teacher forcing."""
    slates = sample(policy, HISTORIES, K, generator=torch.Generator().manual_seed(0))[0]
    examples = [
        {
            "input_ids": [*history.tolist(), SEP, *slate],
            "labels": [-100] * (len(history) + 1) + slate,
        }
        for history, slate in zip(HISTORIES, slates[:, 0].tolist(), strict=True)
    ]
    batch = DataCollatorForLanguageModeling(pad_token_id=0)(examples)
    loss = ListModel(policy)(**batch).loss
    assert float(loss.detach()) == pytest.approx(
        -float(policy.logp(HISTORIES, slates).detach().mean()), abs=1e-5
    )
