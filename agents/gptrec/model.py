"""GPTRec: a GPT-2 that writes recommendation lists item by item (Next-K)."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from genrec.agents.gptrec.head import Allowed, Choices, Reference, choice_log_probabilities
from genrec.agents.gptrec.network import ListTransformer
from genrec.agents.gptrec.prefix import Prefix, placed_before, require_room
from genrec.agents.gptrec.storage import StoredPolicy
from genrec.config.errors import GenrecError
from genrec.data.sequences import Sequences
from genrec.rewards.ranges import require_inside, weights_along


class GPTRec(ListTransformer):
    """Policy P(next item of the list | history, items already in the list).

    Generative recommendation in the manner of Petrov and Macdonald, "Aligning GPTRec with
    Beyond-Accuracy Goals with Reinforcement Learning" (2024). ``ListTransformer`` gives the hidden
    states and the arguments of the constructor; this class turns states into probabilities. Items
    of the history and items already in the list have probability 0.

    A policy can be conditioned on reward weights (``condition``): it then writes lists for any
    weights in their ranges, either its own (``at``) or those given per history.
    """

    def at(self, weights: Mapping[str, float]) -> "GPTRec":
        """Return a policy with the same parameters that writes lists for other weights.

        Args:
            weights: reward name -> weight; the others keep theirs, at first the middle of their
                range.

        Raises:
            GenrecError: for a weight without a range, or outside its range.
        """
        require_inside(weights, self.ranges)
        conditioned = copy.copy(self)
        conditioned.weights = self.weights | dict(weights)
        return conditioned

    @torch.no_grad()
    def load_item_vectors(self, vectors: torch.Tensor) -> None:
        """Start from the item vectors of a trained scorer, whatever their width.

        Narrower vectors fill the first dimensions. Of wider ones the D principal dimensions are
        kept, the best approximation of their inner products in D dimensions.

        Args:
            vectors: (V+1, d), row 0 is PAD.
        """
        weight = self.lm.transformer.wte.weight
        if vectors.shape[1] > weight.shape[1]:
            _, principal = torch.linalg.eigh(vectors.T @ vectors)  # eigenvalues ascend
            vectors = vectors @ principal[:, -weight.shape[1] :]
        weight[: len(vectors), : vectors.shape[1]] = vectors.to(weight)

    @torch.no_grad()
    def apply_temperature(self, temperature: float) -> None:
        """Turn the policy into softmax(logits / temperature) permanently.

        Greedy lists stay the same; below 1, samples come closer to them. The output layer is linear
        in the last layer norm's output, whose gain and bias are divided.
        """
        self.lm.transformer.ln_f.weight.div_(temperature)
        self.lm.transformer.ln_f.bias.div_(temperature)

    def masked_logits(
        self, prefix: Prefix, states: torch.Tensor, slates: torch.Tensor
    ) -> torch.Tensor:
        """Float32 logits (H, G, K, V+2) of every item along slates (H, G, K).

        They are -inf at blocked items and at items placed earlier in the same list.

        Args:
            prefix: H histories.
            states: (H, G, K, D) from ``slate_states``.
            slates: (H, G, K).

        Raises:
            GenrecError: if a history leaves fewer than K items.
        """
        require_room(prefix.blocked, slates.shape[2])
        # Float32 under autocast too: bfloat16 would merge close logits of large catalogues.
        logits: torch.Tensor = self.lm.lm_head(states).float()
        logits = logits.masked_fill(prefix.blocked[:, None, None], -torch.inf)
        return logits.scatter(3, placed_before(slates), -torch.inf)

    def log_distribution(
        self, histories: Sequences, slates: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(H, G, K, V+2) log-probabilities of every item along slates (H, G, K); differentiable."""
        prefix = self.encode(histories, weights)
        logits = self.masked_logits(prefix, self.slate_states(prefix, slates), slates)
        return torch.log_softmax(logits, dim=3)

    def evaluate_items(
        self,
        prefix: Prefix,
        states: torch.Tensor,
        slates: torch.Tensor,
        *,
        items: torch.Tensor,
        with_entropy: bool = False,
        reference: Reference | None = None,
    ) -> Choices:
        """Log-probabilities of some items along slates, entropies and divergences; differentiable.

        Never holds the logits of all V items for all positions, unlike ``masked_logits``.

        Args:
            prefix: H histories.
            states: (H, G, K, D) from ``slate_states``.
            slates: (H, G, K), whose earlier items are masked at each position.
            items: (H, G, K, C) the items evaluated at each position.
            with_entropy: whether to compute entropies.
            reference: ``as_reference`` of another policy for the same lists, for the divergence
                from it.

        Returns:
            (H, G, K, C) log-probabilities, and (H, G, K) entropies and divergences of the whole
            distributions.

        Raises:
            GenrecError: if a history leaves fewer than K items.
        """
        histories, lists, k = slates.shape
        require_room(prefix.blocked, k)
        history = torch.arange(histories, device=slates.device).repeat_interleave(lists * k)
        placed = placed_before(slates).reshape(-1, k)
        if reference is not None:
            reference = replace(reference, states=reference.states.reshape(len(history), -1))
        found = choice_log_probabilities(
            states.reshape(len(history), -1),
            self.lm.lm_head.weight,
            allowed=Allowed(prefix.blocked, history, placed),
            columns=items.reshape(len(history), -1),
            with_entropy=with_entropy,
            reference=reference,
        )
        return Choices(
            found.logp.view(items.shape),
            found.entropy.view(slates.shape),
            found.kl.view(slates.shape),
        )

    @torch.no_grad()
    def as_reference(
        self, histories: Sequences, slates: torch.Tensor, weights: torch.Tensor | None = None
    ) -> Reference:
        """States (H, G, K, D) along slates (H, G, K), and the output layer, without gradient."""
        states = self.slate_states(self.encode(histories, weights), slates)
        return Reference(states, self.lm.lm_head.weight.detach())

    def logp(
        self, histories: Sequences, slates: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(H, G, K) log-probability of each item of slates (H, G, K); differentiable."""
        prefix = self.encode(histories, weights)
        states = self.slate_states(prefix, slates)
        found = self.evaluate_items(prefix, states, slates, items=slates[..., None])
        return found.logp.squeeze(3)

    @torch.no_grad()
    def score(self, histories: Sequences) -> torch.Tensor:
        """(B, V+1) float32 logits of the first item, for Top-K lists.

        The logit of PAD is -inf; items of the history are not filtered.
        """
        training = self.training
        self.eval()
        scores: torch.Tensor = self.lm.lm_head(self.encode(histories).state).float()[:, :-1]
        self.train(training)
        scores[:, 0] = -torch.inf
        return scores

    def save_pretrained(self, directory: str | Path, item_ids: list[str], fingerprint: str) -> None:
        """Write weights (safetensors), GPT-2 configuration, vocabulary and data fingerprint.

        The directory also loads with ``transformers.GPT2LMHeadModel.from_pretrained``. Give that
        model an attention mask with the position ids: without one it takes ids that count backwards
        for several sequences packed into one row.

        Args:
            directory: created if missing.
            item_ids: raw ids of items 1..V.
            fingerprint: fingerprint of the dataset that the policy was trained on.

        Raises:
            GenrecError: if there is not one id per item.
        """
        if len(item_ids) != self.num_items:
            raise GenrecError(f"{len(item_ids)} item ids for a policy of {self.num_items} items")
        StoredPolicy(self.lm, self.conditioning, item_ids, fingerprint).save(Path(directory))

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> tuple["GPTRec", list[str], str]:
        """Load what ``save_pretrained`` wrote.

        Returns:
            The policy in evaluation mode, the raw ids of items 1..V, and the data fingerprint.

        Raises:
            FileNotFoundError: if there is no policy in the directory.
            GenrecError: if its weights are missing, or one of its files is empty or damaged.
        """
        stored = StoredPolicy.load(Path(directory))
        # Not __init__, which would draw random weights only to replace them.
        policy = cls.__new__(cls)
        nn.Module.__init__(policy)
        policy.lm, policy.conditioning = stored.lm, stored.conditioning
        policy.weights = weights_along(policy.ranges, 0.5)
        return policy.eval(), stored.item_ids, stored.fingerprint
