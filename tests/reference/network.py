"""SyNCRec for one history at a time, position by position: model.md (M2)-(M7) written out, and what we add.

Reads the parameters of a real model, so that gradients of both can be compared. No packing, no masks, no grouped
products, no dropout.
"""

import math

import torch

from builders import times_of


def layer_norm(x, scale, shift):
    centred = x - x.mean()
    return centred / torch.sqrt((centred**2).mean() + 1e-5) * scale + shift


def relu(x):
    return torch.where(x > 0, x, torch.zeros_like(x))


def linear(part, x):
    return part.weight @ x + part.bias


def softmax(values):
    powers = torch.exp(torch.stack(values) - max(values).detach())
    return powers / powers.sum()


class ReferenceNetwork:
    """The network of `model`; all methods take one sequence."""

    def __init__(self, model):
        self.model = model
        self.offsets = model.catalogue.offsets
        self.num_domains = model.catalogue.num_domains
        self.num_items = self.offsets[-1]

    def domain_of(self, item):
        return next(d for d in range(self.num_domains) if self.offsets[d] <= item < self.offsets[d + 1])

    def time(self, times, position):
        """Period of an event and gap to the one before it; `times` of the sequence, 0 for its start token."""
        table = self.model.embedding.time
        if position == 0:
            return table.periods.weight[0] + table.gaps.weight[0]
        period = 1 + sum(int(edge) <= times[position] for edge in table.edges)
        gap = 0
        if position > 1:
            minutes = (times[position] - times[position - 1]) / 60
            gap = min(1 + math.ceil(math.log2(1 + minutes)), 24)
        return table.periods.weight[period] + table.gaps.weight[gap]

    def embed(self, token, domain, position, length, times):
        """(M2), and the time; positions count from the start of the sequence of `length`, its end, or both."""
        table = self.model.embedding
        total = table.items.weight[token] + table.domains.weight[domain]
        if self.model.config.positions in ("start", "both"):
            total = total + table.positions.from_start.weight[position]
        if self.model.config.positions in ("end", "both"):
            total = total + table.positions.from_end.weight[length - position if position > 0 else 0]
        return layer_norm(total + self.time(times, position), table.norm.weight, table.norm.bias)

    def sequence(self, tokens, domains, times):
        """Embeddings of a start token and events; `times` of the events."""
        whole, length = [0, *times], len(tokens)
        return [self.embed(t, d, i, length, whole) for i, (t, d) in enumerate(zip(tokens, domains, strict=True))]

    def cross_embeddings(self, history):
        """Start token, then every event."""
        domains = [self.num_domains] + [self.domain_of(e) for e in history]
        return self.sequence([self.num_items, *history], domains, times_of(history))

    def single_embeddings(self, history, domain):
        """Start token of `domain`, then its events, at their times in the whole history."""
        own = [(e, time) for e, time in zip(history, times_of(history), strict=True) if self.domain_of(e) == domain]
        tokens = [self.num_items + 1 + domain] + [e for e, _ in own]
        return self.sequence(tokens, [domain] * len(tokens), [time for _, time in own])

    def attention(self, block, sequence):
        """Each position reads itself and the ones before it, head by head."""
        dim = len(sequence[0])
        width = dim // block.num_heads
        mapped = [linear(block.query_key_value, x) for x in sequence]
        outputs = []
        for t in range(len(sequence)):
            heads = []
            for head in range(block.num_heads):
                columns = slice(head * width, (head + 1) * width)
                query = mapped[t][:dim][columns]
                keys = [mapped[s][dim : 2 * dim][columns] for s in range(t + 1)]
                values = [mapped[s][2 * dim :][columns] for s in range(t + 1)]
                weights = softmax([query @ key / math.sqrt(width) for key in keys])
                heads.append(sum(w * v for w, v in zip(weights, values, strict=True)))
            outputs.append(linear(block.attention_out, torch.cat(heads)))
        return outputs

    def expert(self, expert, sequence):
        """One f_k of (M3)."""
        for block in expert.blocks:
            normed = [layer_norm(x, block.attention_norm.weight, block.attention_norm.bias) for x in sequence]
            sequence = [x + a for x, a in zip(sequence, self.attention(block, normed), strict=True)]
            after = []
            for x in sequence:
                hidden = layer_norm(x, block.feedforward_norm.weight, block.feedforward_norm.bias)
                after.append(x + linear(block.feedforward_out, relu(linear(block.feedforward_in, hidden))))
            sequence = after
        return [layer_norm(x, expert.norm.weight, expert.norm.bias) for x in sequence]

    def gate(self, task, embedding):
        """g_task of (M4): K weights."""
        maps, num_experts = self.model.mixture.gates.maps, len(self.model.mixture.experts)
        rows = range(task * num_experts, (task + 1) * num_experts)
        return softmax([maps.weight[row] @ embedding + maps.bias[row] for row in rows])

    def mixture(self, sequence, task):
        """h of (M5) at every position; task 0 is cross."""
        mixture = self.model.mixture
        outputs = [self.expert(expert, sequence) for expert in mixture.experts]
        mixed = []
        for t, embedding in enumerate(sequence):
            gate = self.gate(0 if mixture.mixing == "no-separation" else task, embedding)
            own = [(k < mixture.num_cross_experts) == (task == 0) for k in range(len(outputs))]
            if mixture.mixing == "own-only":
                gate = [g if is_own else torch.zeros(()) for g, is_own in zip(gate, own, strict=True)]
                gate = [g / sum(gate) for g in gate]
            parts = []
            for k, is_own in enumerate(own):
                stops = mixture.mixing == "asymmetric" and not is_own
                parts.append(gate[k] * (outputs[k][t].detach() if stops else outputs[k][t]))
            mixed.append(sum(parts))
        return mixed

    def tower(self, task, h):
        """y of (M6)."""
        towers = self.model.towers
        hidden = relu(h @ towers.inner.weight[task] + towers.inner.bias[task])
        out = h + hidden @ towers.outer.weight[task] + towers.outer.bias[task]
        return layer_norm(out, towers.scale[task], towers.shift[task])

    def similarity(self, task, past):
        """What the items of a sequence of events say by themselves: a mean that decays with the events after each."""
        part = self.model.similarity
        if part is None or not past:
            return torch.zeros(self.model.config.dim)
        rate = torch.log(1 + torch.exp(part.shift[task]))
        weights = [torch.exp(-rate * after) for after in reversed(range(len(past)))]
        vectors = [self.model.embedding.items.weight[item] for item in past]
        if self.model.config.score == "cosine":
            vectors = [math.sqrt(len(v)) * v / torch.sqrt(v @ v) for v in vectors]
        mean = sum(w * v for w, v in zip(weights, vectors, strict=True)) / sum(weights)
        return part.weight[task, 0] * mean

    def answer(self, task, h, past):
        """y of (M6) and what the items of `past` say."""
        return self.tower(task, h) + self.similarity(task, past)

    def own(self, history, domain):
        """The events of one domain."""
        return [event for event in history if self.domain_of(event) == domain]

    def answers(self, history, domain):
        """(y_cross, y_domain) after the whole `history`."""
        task, own = 1 + domain, self.own(history, domain)
        cross = self.answer(0, self.mixture(self.cross_embeddings(history), 0)[-1], history)
        return cross, self.answer(task, self.mixture(self.single_embeddings(history, domain), task)[-1], own)

    def training_answers(self, history):
        """(y_cross, y_domain) for every event of `history` as a target, each from the events before it."""
        cross = self.mixture(self.cross_embeddings(history[:-1]), 0)
        single = {}
        for domain in {self.domain_of(e) for e in history}:
            last = max(t for t, event in enumerate(history) if self.domain_of(event) == domain)
            single[domain] = iter(self.mixture(self.single_embeddings(history[:last], domain), 1 + domain))
        answers = []
        for t, target in enumerate(history):
            domain, past = self.domain_of(target), history[:t]
            own = self.answer(1 + domain, next(single[domain]), self.own(past, domain))
            answers.append((self.answer(0, cross[t], past), own))
        return answers

    def score(self, answer, item):
        """(M7), or the cosine over the temperature."""
        vector = self.model.embedding.items.weight[item]
        if self.model.config.score == "dot":
            return answer @ vector
        cosine = answer @ vector / (torch.sqrt(answer @ answer) * torch.sqrt(vector @ vector))
        return cosine / self.model.config.temperature
