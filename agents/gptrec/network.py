"""The transformer of GPTRec: hidden states of histories and of the lists that continue them."""

import numpy as np
import torch
from torch import nn
from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel

from genrec.agents.gptrec.conditioning import Conditioning, seeded_conditioning
from genrec.agents.gptrec.prefix import Prefix, attention_bias, list_mask, prefix_mask
from genrec.config.errors import GenrecError
from genrec.data.sequences import Sequences
from genrec.rewards.ranges import Ranges, weights_along


class ListTransformer(nn.Module):
    """GPT-2 over rows of left padding | history | SEP | list, conditioned on reward weights or not.

    Tokens: 0 PAD, 1..V items, V+1 SEP. Position ids: SEP 0, the history counted backwards 1..T, the
    i-th list item T+i, so that no id changes its meaning while a list grows [Petrov 2025, p. 214].

    Args:
        num_items: V.
        hidden_size: D.
        blocks: number of transformer blocks.
        heads: attention heads per block.
        max_length: T, number of newest history items that are read.
        max_slate: length of the longest list.
        dropout: dropout rate of embeddings and residual branches during training; attention weights
            have none.

    Attributes:
        lm: GPT-2 with tied input and output embeddings.
        conditioning: layers that read reward weights; None for a policy without conditioning.
        weights: reward name -> weight that lists are written for unless a method is given others.
    """

    def __init__(
        self,
        num_items: int,
        *,
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
        # GPT-2 has no such field; setting it writes it to config.json, from where it is read back.
        config.max_slate = max_slate
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
        """Length of the longest list that has position ids."""
        return int(self.lm.config.max_slate)

    @property
    def max_length(self) -> int:
        """T, number of newest history items that are read."""
        return int(self.lm.config.n_positions) - self.max_slate - 1

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.lm.transformer.wte.weight.device

    @property
    def ranges(self) -> Ranges:
        """Reward name -> low and high end of its weight; empty without conditioning."""
        return self.conditioning.ranges if self.conditioning is not None else {}

    def product_shape(self, histories: int) -> tuple[int, int, int]:
        """Rows, inner width and columns of the largest products for so many whole histories."""
        return histories * self.max_length, int(self.lm.config.n_embd), self.num_items

    def condition(self, ranges: Ranges, seed: int = 0) -> None:
        """Condition the policy on reward weights; until it is trained its lists stay the same.

        Args:
            ranges: reward name -> low and high end of its weight.
            seed: random seed of the new layers.

        Raises:
            GenrecError: if the policy is conditioned on other ranges already.
        """
        if self.conditioning is not None:
            if dict(ranges) != self.ranges:
                raise GenrecError(
                    f"this policy is conditioned on weights {self.ranges} already, not on"
                    f" {dict(ranges)}"
                )
            return
        width = int(self.lm.config.n_embd)
        self.conditioning = seeded_conditioning(ranges, width, seed=seed).to(self.device)
        self.lm.config.weight_ranges = {name: list(ends) for name, ends in self.ranges.items()}
        self.weights = weights_along(self.ranges, 0.5)

    def encode(self, histories: Sequences, weights: torch.Tensor | None = None) -> Prefix:
        """Run the histories and SEP through the model once; differentiable.

        Args:
            histories: H histories.
            weights: (H, C) weights to condition on, columns in the order of ``ranges``; None for
                the policy's own.

        Raises:
            GenrecError: for weights given to a policy without conditioning.
        """
        tokens = torch.from_numpy(histories.last(self.max_length).padded(side="left"))
        tokens = nn.functional.pad(tokens, (0, 1), value=self.separator).to(self.device)
        visible = tokens > 0
        rows, width = tokens.shape
        # Counted backwards from SEP: padding on the left shifts no position.
        positions = torch.arange(width - 1, -1, -1, device=self.device).expand(rows, -1)
        condition = self._condition(rows, weights)
        # History tokens are encoded without the condition: only SEP, the last column, has it.
        at_separator = (
            None
            if condition is None
            else nn.functional.pad(condition[:, None], (0, 0, width - 1, 0))
        )
        cache = DynamicCache(config=self.lm.config)
        hidden = self._forward(
            tokens, prefix_mask(visible), positions=positions, cache=cache, condition=at_separator
        )
        blocked = self.blocked(histories)
        return Prefix(cache, visible, state=hidden[:, -1], blocked=blocked, condition=condition)

    def extend(self, prefix: Prefix, items: torch.Tensor, start: int) -> torch.Tensor:
        """Hidden states of list items, for G lists per history that continue one shared prefix.

        The lists of a history lie side by side as queries over the same keys, see ``list_mask``:
        the prefix is neither repeated nor recomputed.

        Args:
            prefix: H histories; the items are appended to its cache.
            items: (H, G, n) the items at list positions start+1 .. start+n.
            start: number of items of each list that the cache holds already.

        Returns:
            (H, G, n, D) hidden states; the state of item i predicts item i+1.

        Raises:
            GenrecError: for lists longer than ``max_slate``.
        """
        histories, lists, new = items.shape
        if start + new > self.max_slate:
            raise GenrecError(
                f"this policy writes lists of at most {self.max_slate} items; ask for a shorter"
                " list"
            )
        first = self.max_length + start + 1
        positions = torch.arange(first, first + new, device=self.device)
        hidden = self._forward(
            items.reshape(histories, -1),
            list_mask(prefix.visible, lists=lists, start=start, new=new),
            positions=positions.repeat(lists)[None].expand(histories, -1),
            cache=prefix.cache,
            condition=None if prefix.condition is None else prefix.condition[:, None],
        )
        return hidden.view(histories, lists, new, -1)

    def slate_states(self, prefix: Prefix, slates: torch.Tensor) -> torch.Tensor:
        """(H, G, K, D) states that predict each item of slates (H, G, K), teacher forced."""
        histories, lists, k = slates.shape
        first = prefix.state[:, None, None].expand(histories, lists, 1, -1)
        if k == 1:
            return first
        return torch.cat([first, self.extend(prefix, slates[:, :, :-1], start=0)], dim=2)

    def blocked(self, histories: Sequences) -> torch.Tensor:
        """(H, V+2) True at PAD, SEP and every item of the whole history, however long."""
        out = torch.zeros(len(histories), self.num_items + 2, dtype=torch.bool, device=self.device)
        rows = torch.from_numpy(histories.rows())
        out[rows, torch.from_numpy(histories.items.astype(np.int64))] = True
        out[:, 0] = True
        out[:, self.separator] = True
        return out

    def _condition(self, count: int, weights: torch.Tensor | None) -> torch.Tensor | None:
        """(count, D) vectors of weights (count, C), or of the policy's own weights."""
        if self.conditioning is None:
            if weights is not None:
                raise GenrecError("this policy is not conditioned on weights: give none")
            return None
        if weights is None:
            own = torch.tensor([self.weights[name] for name in self.ranges], device=self.device)
            weights = own.expand(count, -1)
        vectors: torch.Tensor = self.conditioning(weights)
        return vectors

    def _forward(
        self,
        tokens: torch.Tensor,
        mask: torch.Tensor,
        *,
        positions: torch.Tensor,
        cache: DynamicCache,
        condition: torch.Tensor | None,
    ) -> torch.Tensor:
        """Hidden states (H, n, D) of new tokens, whose keys and values are appended to the cache.

        Args:
            tokens: (H, n).
            mask: (H, n, cached + n) True where a token attends to a key.
            positions: (H, n) position ids.
            cache: keys and values of earlier tokens.
            condition: (H, n or 1, D) added to the token embeddings; None for no conditioning.
        """
        # On a CPU the backward pass of the fused bfloat16 kernel is slow: attention is written out.
        wanted = "eager" if self.device.type == "cpu" else "sdpa"
        if self.lm.config._attn_implementation != wanted:
            self.lm.set_attn_implementation(wanted)
        attention_mask = mask[:, None]
        if wanted == "eager":
            autocast = torch.is_autocast_enabled("cpu")
            dtype = torch.get_autocast_dtype("cpu") if autocast else torch.float32
            attention_mask = attention_bias(attention_mask, dtype)
        embeddings = None if condition is None else self.lm.transformer.wte(tokens) + condition
        hidden: torch.Tensor = self.lm.transformer(
            input_ids=tokens if embeddings is None else None,
            inputs_embeds=embeddings,
            attention_mask=attention_mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        return hidden
