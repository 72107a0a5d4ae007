import numpy as np

from syncrec.evaluation import choose_fusion_weights

DOMAINS = np.array([0, 0, 1])


def test_each_domain_takes_the_weight_with_its_best_validation_mrr():
    def ranks_for_weight(weight):
        return np.array([1 + abs(weight - 0.3), 2.0, 1 + abs(weight - 1.0)])

    assert choose_fusion_weights(ranks_for_weight, DOMAINS, 2).tolist() == [0.3, 1.0]


def test_of_equal_weights_the_smallest_wins_and_a_domain_without_queries_keeps_the_papers_answer():
    assert choose_fusion_weights(lambda weight: np.ones(3), DOMAINS, 3).tolist() == [0, 0, 0]


def test_only_the_weights_of_the_grid_are_tried():
    tried = []

    def ranks_for_weight(weight):
        tried.append(weight)
        return np.ones(3) / (1 + weight) + 1

    assert choose_fusion_weights(ranks_for_weight, DOMAINS, 2, grid=(0.0, 0.5)).tolist() == [0.5, 0.5]
    assert tried == [0.0, 0.5]
