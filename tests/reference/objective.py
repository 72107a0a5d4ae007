"""The training objective (M8)-(M12), user by user, domain by domain, in plain loops over a `ReferenceNetwork`."""

import math
from dataclasses import dataclass

import torch


@dataclass
class ReferenceReport:
    total: torch.Tensor
    cross: list[torch.Tensor]  # mean l_t of each domain
    single: list[torch.Tensor]  # mean l^d_t of each domain
    gap: list[float]
    relative_gap: list[float]
    weights: list[float]
    mutual_information: torch.Tensor


def next_item_loss(network, answer, target):
    """-log softmax over the items of the target's domain, in nats."""
    domain = network.domain_of(target)
    scores = [network.score(answer, item) for item in range(network.offsets[domain], network.offsets[domain + 1])]
    return torch.stack(scores).logsumexp(0) - network.score(answer, target)


def mean(values):
    return sum(values) / len(values) if values else torch.zeros(())


def mutual_information(discriminators, pairs_of_domain):
    """(M11): InfoNCE per domain; `pairs_of_domain[d]` holds (y_cross, y_d), one a user."""
    total = torch.zeros(())
    for domain, pairs in enumerate(pairs_of_domain):
        losses = []
        for number, (cross, _) in enumerate(pairs):
            scores = [cross @ discriminators[domain] @ single for _, single in pairs]
            losses.append(torch.stack(scores).logsumexp(0) - scores[number])
        total = total + mean(losses)
    return total


def user_means(losses, users):
    """The mean of each user's losses."""
    return [mean([loss for loss, u in zip(losses, users, strict=True) if u == user]) for user in sorted(set(users))]


def moved_gaps(relative_gap, gap, is_present, transfer):
    """(M9), domain by domain."""
    return [
        transfer.alpha * old + transfer.beta * phi if present else old
        for old, phi, present in zip(relative_gap, gap, is_present, strict=True)
    ]


def correction_weights(relative_gap, transfer):
    """D gamma_d of (M10)."""
    if transfer.correction and transfer.weights == "harm":
        return [math.exp(float(gap) / transfer.temperature) if gap < 0 else 1.0 for gap in relative_gap]
    if not transfer.correction:
        return [1.0] * len(relative_gap)
    powers = [math.exp(gap / transfer.temperature) for gap in relative_gap]
    return [len(powers) * power / sum(powers) for power in powers]


def reference_objective(network, histories, config, discriminators, relative_gap, anchors):
    """The whole objective.

    Args:
        network: `ReferenceNetwork`.
        histories: of the users, at most T + 1 events each, every event a target.
        config: `Config`.
        discriminators: of the mutual information, [D, dim, dim].
        relative_gap: lambda before the step, a number a domain.
        anchors: set of (user, position), the targets that the mutual information compares.
    """
    num_domains = network.num_domains
    cross, single, pairs, asked = ([[] for _ in range(num_domains)] for _ in range(4))
    for user, history in enumerate(histories):
        for position, (target, answers) in enumerate(zip(history, network.training_answers(history), strict=True)):
            domain = network.domain_of(target)
            cross[domain].append(next_item_loss(network, answers[0], target))
            single[domain].append(next_item_loss(network, answers[1], target))
            asked[domain].append(user)
            if (user, position) in anchors:
                pairs[domain].append(answers)
    if config.loss.mean_over == "users":
        cross, single = (
            [user_means(losses, users) for losses, users in zip(v, asked, strict=True)] for v in (cross, single)
        )
    cross_means, single_means = [mean(v) for v in cross], [mean(v) for v in single]
    gap = [float((s - c).detach()) for s, c in zip(single_means, cross_means, strict=True)]
    moved = moved_gaps(relative_gap, gap, [bool(v) for v in cross], config.transfer)
    weights = correction_weights(moved, config.transfer)
    information = mutual_information(discriminators, pairs)
    total = sum(w * c for w, c in zip(weights, cross_means, strict=True))
    total = total + config.loss.single_weight * sum(single_means)
    total = total + config.loss.mutual_information_weight * information
    return ReferenceReport(total, cross_means, single_means, gap, moved, weights, information)
