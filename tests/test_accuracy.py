import pytest

import syncrec
from jobs import real_log
from syncrec.demo import demo_config

ITEM_KNN_HR = {"Food": 0.181, "Kitchen": 0.111}  # docs/protocols.md: the better of its two variants; above popularity


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_cross_answer_beats_item_knn_in_both_domains_of_a_real_log(tmp_path):
    dataset = syncrec.prepare(real_log("amazon_food_kitchen.csv.gz"), out=tmp_path / "data", max_history=50)
    run = syncrec.train(dataset, tmp_path / "run", config=demo_config(), show_progress=False)
    result = run.evaluate(protocol="sampled-999")
    found = {domain: metrics["hr@10"] for domain, metrics in result.summary("cross").domains.items()}
    assert all(found[domain] > floor for domain, floor in ITEM_KNN_HR.items()), found
