"""GPTRec: a GPT-2 that writes recommendation lists item by item (Next-K)."""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel
from transformers.utils import logging as transformers_logging

from genrec.agents.gptrec.conditioning import Conditioning
from genrec.agents.gptrec.head import Allowed, choice_log_probabilities
from genrec.config.errors import GenrecError
from genrec.data.sequences import Sequences
from genrec.rewards.ranges import Ranges, require_inside, weights_along

NEVER = -torch.inf
CONDITIONING = "conditioning.safetensors"


@dataclass
class Prefix:
    """H encoded histories, each ending in SEP, that any number of lists may go on from.

    Attributes:
        cache: keys and values of the prefix tokens, (H, heads, P, D/heads) a layer.
        visible: (H, P) True at real tokens.
        state: (H, D) last hidden state of SEP, which predicts the first item.
        blocked: (H, V+2) True at what no list may hold: PAD, SEP and every item of the whole
            history.
        told: (H, D) what the lists are told of their weights; None where the policy is not
            conditioned.
    """

    cache: DynamicCache
    visible: torch.Tensor
    state: torch.Tensor
    blocked: torch.Tensor
    told: torch.Tensor | None = None


class GPTRec(nn.Module):
    """Policy P(next item of the list | history, items already in the list) [Petrov & Macdonald
    2024].

    Tokens: 0 PAD, 1..V items, V+1 SEP. Layout: left padding | history | SEP | list. Position ids:
        SEP 0, the history
    counted backwards 1..T, the i-th list item T+i, so that no id changes its meaning while a list
    grows [Petrov 2025, p. 214].

    A policy may be conditioned on the weights of rewards (``condition``): it then writes lists for
    any weights in their ranges, those of ``at``, or of each history where a method takes weights.

    Args:
        num_items: V.
        hidden_size: D.
        blocks: transformer blocks.
        heads: attention heads.
        max_length: T, how much of a history is read.
        max_slate: longest list.
        dropout: of embeddings and residual branches while training; attention weights have none.
    """

    def __init__(
        self,
        num_items: int,
        hidden_size: int = 256,
        blocks: int = 3,
        heads: int = 4,
        max_length: int = 200,
        max_slate: int = 20,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        config = GPT2Config(
            vocab_size=num_items + 2,
            n_positions=max_length + max_slate + 1,
            n_embd=hidden_size,
            n_layer=blocks,
            n_head=heads,
            resid_pdrop=dropout,
            embd_pdrop=dropout,
            attn_pdrop=0.0,
            activation_function="gelu",
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=0,
        )
        config.max_slate = max_slate  # kept in config.json
        self.lm = GPT2LMHeadModel(config)
        self.conditioning: Conditioning | None = None
        self.weights: dict[str, float] = {}

    @property
    def num_items(self) -> int:
        """V."""
        return int(self.lm.config.vocab_size) - 2

    @property
    def separator(self) -> int:
        """Token id of SEP, V+1."""
        return self.num_items + 1

    @property
    def max_slate(self) -> int:
        """Longest list that has position ids."""
        return int(self.lm.config.max_slate)

    @property
    def max_length(self) -> int:
        """T, how much of a history is read."""
        return int(self.lm.config.n_positions) - self.max_slate - 1

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.lm.transformer.wte.weight.device

    @property
    def ranges(self) -> Ranges:
        """Name of a reward -> low and high end of the weights that the policy can be told; empty
        where it cannot."""
        return self.conditioning.ranges if self.conditioning is not None else {}

    def condition(self, ranges: Ranges, seed: int = 0) -> None:
        """Let the policy be told weights in these ranges; until it is trained its lists stay what
        they are.

        Args:
            ranges: name of a reward -> low and high end.
            seed: of the new layers.

        Raises:
            GenrecError: if it is conditioned on other weights already.
        """
        if self.conditioning is not None:
            if dict(ranges) != self.ranges:
                raise GenrecError(
                    f"this policy is conditioned on weights {self.ranges} already, not on"
                    f" {dict(ranges)}"
                )
            return
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.conditioning = Conditioning(ranges, int(self.lm.config.n_embd)).to(self.device)
        self.lm.config.weight_ranges = {name: list(ends) for name, ends in self.ranges.items()}
        self.weights = weights_along(self.ranges, 0.5)

    def at(self, weights: Mapping[str, float]) -> "GPTRec":
        """The same policy, its parameters shared, told these weights; those not named stay, at
        first in the middle.

        Raises:
            GenrecError: for a weight without a range, or outside it.
        """
        require_inside(weights, self.ranges)
        told = copy.copy(self)
        told.weights = self.weights | dict(weights)
        return told

    def _told(self, count: int, weights: torch.Tensor | None) -> torch.Tensor | None:
        """(count, D) the vectors of weights (count, C), or of the policy's own."""
        if self.conditioning is None:
            if weights is not None:
                raise GenrecError("this policy is not conditioned on weights: give none")
            return None
        if weights is None:
            own = torch.tensor([self.weights[name] for name in self.ranges], device=self.device)
            weights = own.expand(count, -1)
        told: torch.Tensor = self.conditioning(weights)
        return told

    @torch.no_grad()
    def load_item_vectors(self, vectors: torch.Tensor) -> None:
        """Start from the item vectors of a trained scorer, whatever their width.

        Narrower vectors fill the first dimensions; of wider ones the principal D are kept, which
        keeps their products as well as D dimensions can.

        Args:
            vectors: (V+1, d), row 0 is PAD.
        """
        weight = self.lm.transformer.wte.weight
        if vectors.shape[1] > weight.shape[1]:
            _, principal = torch.linalg.eigh(vectors.T @ vectors)  # ascending
            vectors = vectors @ principal[:, -weight.shape[1] :]
        weight[: len(vectors), : vectors.shape[1]] = vectors.to(weight)

    @torch.no_grad()
    def apply_temperature(self, temperature: float) -> None:
        """Make the policy softmax(logits / temperature) for good: greedy lists stay, samples come
        nearer to them."""
        self.lm.transformer.ln_f.weight.div_(temperature)
        self.lm.transformer.ln_f.bias.div_(temperature)

    def encode(self, histories: Sequences, weights: torch.Tensor | None = None) -> Prefix:
        """Run the histories and SEP through the model once; differentiable.

        Args:
            histories: H of them.
            weights: (H, C) of a conditioned policy, in the order of its ranges; None takes its own
                for all.
        """
        tokens = torch.from_numpy(histories.last(self.max_length).padded(side="left"))
        tokens = nn.functional.pad(tokens, (0, 1), value=self.separator).to(self.device)
        visible = tokens > 0
        width = tokens.shape[1]
        positions = torch.arange(width - 1, -1, -1, device=self.device).expand(len(tokens), -1)
        earlier = torch.ones(width, width, dtype=torch.bool, device=self.device).tril()
        itself = torch.eye(
            width, dtype=torch.bool, device=self.device
        )  # padding sees itself, so that no row is empty
        mask = (earlier & visible[:, None, :]) | itself
        cache = DynamicCache(config=self.lm.config)
        told = self._told(len(tokens), weights)
        at_separator = (
            None if told is None else nn.functional.pad(told[:, None], (0, 0, width - 1, 0))
        )
        hidden = self._run(tokens, mask, positions, cache, at_separator)
        return Prefix(cache, visible, hidden[:, -1], self.blocked(histories), told)

    def _run(
        self,
        tokens: torch.Tensor,
        mask: torch.Tensor,
        positions: torch.Tensor,
        cache: DynamicCache,
        told: torch.Tensor | None,
    ) -> torch.Tensor:
        """Hidden states (H, n, D) of new tokens (H, n) that see what ``mask`` (H, n, all) says; the
        cache grows.

        What they are ``told`` of weights, (H, n or 1, D), joins their embeddings.
        Attention is written out on a CPU, where the fused bfloat16 kernel has a slow backward pass,
        and fused elsewhere.
        """
        wanted = "eager" if self.device.type == "cpu" else "sdpa"
        if self.lm.config._attn_implementation != wanted:
            self.lm.set_attn_implementation(wanted)
        seen = mask[:, None]
        if wanted == "eager":
            kind = (
                torch.get_autocast_dtype("cpu")
                if torch.is_autocast_enabled("cpu")
                else torch.float32
            )
            seen = torch.zeros(seen.shape, dtype=kind).masked_fill_(~seen, torch.finfo(kind).min)
        joined = None if told is None else self.lm.transformer.wte(tokens) + told
        hidden: torch.Tensor = self.lm.transformer(
            input_ids=tokens if joined is None else None,
            inputs_embeds=joined,
            attention_mask=seen,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        return hidden

    def blocked(self, histories: Sequences) -> torch.Tensor:
        """(H, V+2) True at PAD, SEP and every item of the whole history, however long."""
        out = torch.zeros(len(histories), self.num_items + 2, dtype=torch.bool, device=self.device)
        out[
            torch.from_numpy(histories.rows()), torch.from_numpy(histories.items.astype(np.int64))
        ] = True
        out[:, 0] = True
        out[:, self.separator] = True
        return out

    def extend(self, prefix: Prefix, items: torch.Tensor, start: int) -> torch.Tensor:
        """States of list items, G lists a history going on from one shared prefix.

        The lists of a history are laid side by side as queries over the same keys: item (g, i) sees
        the history, SEP and items (g, 1..i) of its own list. The prefix is neither repeated nor
        recomputed.

        Args:
            prefix: of H histories; its cache grows by the items.
            items: (H, G, n) the items at list positions start+1 .. start+n; earlier ones are in the
                cache already.
            start: how many items of each list the cache holds.

        Returns:
            (H, G, n, D) hidden states; the state of item i predicts item i+1.
        """
        histories, lists, new = items.shape
        if start + new > self.max_slate:
            raise GenrecError(
                f"this policy writes lists of at most {self.max_slate} items; ask for a shorter"
                " list"
            )
        known = prefix.visible.shape[1]
        # items in the cache came one a list at a time: the columns of each earlier position run
        # over the lists
        own = torch.eye(lists, dtype=torch.bool, device=self.device)
        past = (
            own[:, None, :]
            .expand(lists, new, lists)
            .repeat(1, 1, start)
            .reshape(lists * new, lists * start)
        )
        causal = torch.ones(new, new, dtype=torch.bool, device=self.device).tril()
        current = torch.kron(own.to(torch.uint8), causal.to(torch.uint8)).bool()
        among = torch.cat([past, current], dim=1).expand(histories, -1, -1)
        mask = torch.cat([prefix.visible[:, None, :].expand(-1, lists * new, known), among], dim=2)
        positions = torch.arange(
            self.max_length + start + 1, self.max_length + start + new + 1, device=self.device
        )
        told = None if prefix.told is None else prefix.told[:, None]
        hidden = self._run(
            items.reshape(histories, -1),
            mask,
            positions.repeat(lists)[None].expand(histories, -1),
            prefix.cache,
            told,
        )
        return hidden.view(histories, lists, new, -1)

    def slate_states(self, prefix: Prefix, slates: torch.Tensor) -> torch.Tensor:
        """(H, G, K, D) the states that predict each item of slates (H, G, K), teacher forced."""
        histories, lists, k = slates.shape
        first = prefix.state[:, None, None].expand(histories, lists, 1, -1)
        if k == 1:
            return first
        return torch.cat([first, self.extend(prefix, slates[:, :, :-1], start=0)], dim=2)

    def masked_logits(
        self, prefix: Prefix, states: torch.Tensor, slates: torch.Tensor
    ) -> torch.Tensor:
        """(H, G, K, V+2) float32 logits, -inf at blocked items and at those placed earlier in the
        same list.

        Raises:
            GenrecError: where nothing is left to choose from.
        """
        logits: torch.Tensor = self.lm.lm_head(states).float()
        k = slates.shape[2]
        require_room(prefix.blocked, k)
        earlier = torch.ones(k, k, dtype=torch.bool, device=slates.device).tril(-1)
        placed = torch.where(earlier, slates[:, :, None, :], 0)  # PAD is blocked already
        logits = logits.masked_fill(prefix.blocked[:, None, None], NEVER)
        return logits.scatter(3, placed, NEVER)

    def log_distribution(
        self, histories: Sequences, slates: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(H, G, K, V+2) log-probabilities of every choice along slates (H, G, K);
        differentiable."""
        prefix = self.encode(histories, weights)
        logits = self.masked_logits(prefix, self.slate_states(prefix, slates), slates)
        return torch.log_softmax(logits, dim=3)

    def choices(
        self,
        prefix: Prefix,
        states: torch.Tensor,
        slates: torch.Tensor,
        columns: torch.Tensor,
        entropy: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities of some choices along slates, without holding all V of them;
        differentiable.

        Args:
            prefix: of H histories.
            states: (H, G, K, D) from ``slate_states``.
            slates: (H, G, K).
            columns: (H, G, K, C) the choices asked for at each position.
            entropy: whether the entropies are wanted.

        Returns:
            (H, G, K, C) log-probabilities, and (H, G, K) entropies of the whole distributions, or
            zeros.
        """
        histories, lists, k = slates.shape
        require_room(prefix.blocked, k)
        earlier = torch.ones(k, k, dtype=torch.bool, device=slates.device).tril(-1)
        placed = torch.where(earlier, slates[:, :, None, :], 0).reshape(
            -1, k
        )  # PAD is blocked already
        row = torch.arange(histories, device=slates.device).repeat_interleave(lists * k)
        allowed = Allowed(prefix.blocked, row, placed)
        logp, spread = choice_log_probabilities(
            states.reshape(len(row), -1),
            self.lm.lm_head.weight,
            allowed,
            columns.reshape(len(row), -1),
            entropy,
        )
        return logp.view(columns.shape), spread.view(slates.shape)

    def logp(
        self, histories: Sequences, slates: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(H, G, K) log-probability of each item of slates (H, G, K); differentiable."""
        prefix = self.encode(histories, weights)
        return self.choices(prefix, self.slate_states(prefix, slates), slates, slates[..., None])[
            0
        ].squeeze(3)

    @torch.no_grad()
    def score(self, histories: Sequences) -> torch.Tensor:
        """Top-K inference: (B, V+1) float32 logits of the first item, PAD -inf; seen items are not
        filtered."""
        training = self.training
        self.eval()
        scores: torch.Tensor = self.lm.lm_head(self.encode(histories).state).float()[:, :-1]
        self.train(training)
        scores[:, 0] = NEVER
        return scores

    def save_pretrained(self, folder: Path, item_ids: list[str], fingerprint: str) -> None:
        """Write weights (safetensors), GPT-2 configuration, vocabulary and data fingerprint; no
        pickle.

        A conditioned policy keeps its ranges in the configuration and its further layers in a file
        of their own. The folder also loads with ``transformers.GPT2LMHeadModel.from_pretrained``.
        Give that model an attention mask with the position ids: without one it takes ids that count
        backwards for several rows packed into one.

        Args:
            folder: is made if missing.
            item_ids: raw ids of items 1..V.
            fingerprint: of the dataset the policy was trained on.
        """
        if len(item_ids) != self.num_items:
            raise GenrecError(f"{len(item_ids)} item ids for a policy of {self.num_items} items")
        transformers_logging.disable_progress_bar()
        self.lm.save_pretrained(folder)
        if self.conditioning is not None:
            save_file(self.conditioning.state_dict(), folder / CONDITIONING)
        vocabulary = {"fingerprint": fingerprint, "items": item_ids}
        (folder / "vocabulary.json").write_text(json.dumps(vocabulary))

    @classmethod
    def from_pretrained(cls, folder: Path) -> tuple["GPTRec", list[str], str]:
        """Load what ``save_pretrained`` wrote: the policy, its raw item ids and the data
        fingerprint."""
        if not (folder / "vocabulary.json").exists():
            raise FileNotFoundError(f"{folder} holds no GPTRec: there is no vocabulary.json")
        transformers_logging.disable_progress_bar()
        vocabulary = json.loads((folder / "vocabulary.json").read_text())
        policy = cls.__new__(cls)
        nn.Module.__init__(policy)
        policy.lm = GPT2LMHeadModel.from_pretrained(folder)
        policy.conditioning, policy.weights = None, {}
        if ranges := policy.lm.config.to_dict().get("weight_ranges"):
            policy.condition({name: (low, high) for name, (low, high) in ranges.items()})
            policy.get_submodule("conditioning").load_state_dict(load_file(folder / CONDITIONING))
        return policy.eval(), vocabulary["items"], vocabulary["fingerprint"]


def require_room(blocked: torch.Tensor, k: int) -> None:
    """Raise GenrecError where what is blocked (H, V+2) leaves a history fewer than k items."""
    left = (~blocked).sum(dim=1)
    if int(left.min()) < k:
        row = int(left.argmin())
        raise GenrecError(
            f"history {row} leaves {int(left[row])} items for a list of {k}: ask for a shorter list"
        )
