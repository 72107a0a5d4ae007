import math

import pytest
import torch

from syncrec.checkpoint import load_checkpoint
from syncrec.errors import NonFiniteLossError
from syncrec.pipeline import train
from syncrec.runs import BEST_NAME, LAST_NAME, LOG_NAME
from syncrec.training.loop import Trainer
from syncrec.training.optimizer import learning_rate
from syncrec.training.tracking import read_log


def copy_of(state):
    return {name: value.clone() for name, value in state.items()}


def same(first, second):
    return set(first) == set(second) and all(torch.equal(first[n].nan_to_num(), second[n].nan_to_num()) for n in first)


class TestBestEpoch:
    def test_training_stops_when_patience_ends_and_the_best_epoch_is_kept(self, make_session, monkeypatch):
        session = make_session(values=[0.1, 0.3, 0.3, 0.2, 0.9], epochs=5, patience=2)
        weights = []
        end_epoch = Trainer._end_epoch

        def keep(trainer, *arguments):
            weights.append(copy_of(trainer.model.state_dict()))
            return end_epoch(trainer, *arguments)

        monkeypatch.setattr(Trainer, "_end_epoch", keep)
        assert session.train() is True
        assert [r["epoch"] for r in session.records] == [0, 1, 2, 3]
        best = load_checkpoint(session.trainer.run / BEST_NAME)
        assert best.state == {"epoch": 1, "value": 0.3}
        assert same(best.tensors["model"], weights[1])
        last = load_checkpoint(session.trainer.run / LAST_NAME)
        assert same(last.tensors["model"], weights[3])
        assert last.state["is_finished"] is True

    def test_an_equal_value_is_no_better_one(self, make_session):
        session = make_session(values=[0.5, 0.5, 0.5], epochs=3)
        session.train()
        assert load_checkpoint(session.trainer.run / BEST_NAME).state["epoch"] == 0

    def test_without_validation_each_epoch_the_last_epoch_still_gets_one(self, make_session):
        session = make_session(values=[0.5, 0.7], epochs=3, validate_every=2)
        session.train()
        assert [("validation" in r) for r in session.records] == [False, True, True]
        assert load_checkpoint(session.trainer.run / BEST_NAME).state == {"epoch": 2, "value": 0.7}

    def test_patience_counts_epochs_not_validations(self, make_session):
        session = make_session(values=[0.5, 0.1, 0.1, 0.1], epochs=20, validate_every=2, patience=3)
        session.train()
        assert [r["epoch"] for r in session.records] == list(range(6))


class TestNonFiniteLoss:
    def poisoned(self, session, at_step, poison):
        def batches(epoch, skip):
            for batch in session.batches(epoch, skip):
                if session.trainer.state.step == at_step:
                    self.optimizer_before = str(session.trainer.optimizer.state_dict()["state"][0])
                    with torch.no_grad():
                        poison(session.trainer.model)
                    self.before = copy_of(session.trainer.model.state_dict())
                yield batch

        return batches

    def refused(self, session, at_step, poison):
        with pytest.raises(NonFiniteLossError) as error:
            session.train(self.poisoned(session, at_step, poison))
        assert same(self.before, session.trainer.model.state_dict())
        assert str(session.trainer.optimizer.state_dict()["state"][0]) == self.optimizer_before
        assert session.trainer.state.step == at_step
        return str(error.value)

    def test_message_names_step_epoch_domain_and_part(self, make_session):
        session = make_session(loss={"mutual_information_weight": 0.0})
        text = self.refused(session, 7, lambda model: model.towers.shift[2].fill_(math.nan))
        assert "step 7 (epoch 1): the single loss of domain Food is not finite; the weights were not updated" in text

    def test_message_names_every_part(self, make_session):
        text = self.refused(make_session(), 2, lambda model: model.towers.shift[:2].fill_(math.inf))
        for domain in ("Books", "Food", "Tools"):
            assert f"the cross loss of domain {domain}" in text
        assert "the single loss of domain Books" in text
        assert "the single loss of domain Tools" not in text
        assert "the mutual information loss" in text

    def test_message_names_a_loss_of_the_models_own(self, make_session):
        session = make_session(model={"name": "cgrec"})
        text = self.refused(session, 2, lambda model: model.head.weight.fill_(math.nan))
        assert "step 2 (epoch 0): the contrast loss is not finite" in text

    def test_the_last_checkpoint_stays_good(self, make_session):
        session = make_session(checkpoint_every_steps=1)
        self.refused(session, 7, lambda model: model.towers.scale.fill_(math.nan))
        saved = load_checkpoint(session.trainer.run / LAST_NAME)
        assert saved.state["step"] == 7
        assert all(torch.isfinite(t).all() for group in saved.tensors.values() for t in group.values())

    def test_a_gradient_that_is_not_finite_stops_before_the_update(self, make_session):
        session = make_session()

        def spoil_gradient(model):
            model.towers.scale.register_hook(lambda gradient: gradient * math.inf)

        assert "gradient" in self.refused(session, 3, spoil_gradient)

    def test_the_remedy_is_possible(self, make_session):
        """`--resume` keeps the settings, so the message must not send the user there with others."""
        text = self.refused(make_session(), 1, lambda model: model.towers.scale.fill_(math.nan))
        assert "training.learning_rate" in text
        assert "--resume" not in text


class TestLog:
    @pytest.mark.parametrize(("name", "own"), [("c2dsr", "infomax"), ("cgrec", "contrast")])
    def test_losses_of_the_models_own_and_contributions_are_in_it(self, name, own, make_session):
        session = make_session(model={"name": name}, epochs=1)
        session.train()
        (record,) = session.records
        assert set(record["loss"]) == {"cross", "total", "mutual_information", own}
        assert record["loss"][own] > 0
        assert ("contribution" in record) == (name == "cgrec")
        for domain, row in record.get("contribution", {}).items():
            assert set(row) == {"Books", "Food", "Tools"}
            assert row[domain] == 0
            assert record["transfer_gap"][domain] != 0 or domain == "Food"

    def test_one_line_an_epoch_with_the_promised_fields(self, tiny_dataset_path, tmp_path, settings):
        train(tiny_dataset_path, tmp_path / "run", settings=settings, show_progress=False)
        lines = read_log(tmp_path / "run" / LOG_NAME)
        assert [line["epoch"] for line in lines] == [0, 1, 2, 3]
        steps = lines[0]["step"]
        assert [line["step"] for line in lines] == [steps, 2 * steps, 3 * steps, 4 * steps]
        domains = {"Books", "Food", "Tools"}
        for line in lines:
            for name in ("transfer_gap", "relative_gap", "weight"):
                assert set(line[name]) == domains
            assert set(line["loss"]) == {"cross", "single", "total", "mutual_information"}
            assert set(line["loss"]["cross"]) == set(line["loss"]["single"]) == domains
            assert set(line["validation"]) == {"cross", "single", "fused"}
            assert set(line["best"]) == {"epoch", "value"}
            assert line["seconds"] > 0
            assert line["targets_per_second"] > 0
            assert math.isclose(
                line["best"]["value"], max(v["validation"]["fused"]["macro"]["mrr"] for v in lines[: line["epoch"] + 1])
            )

    def test_sums_are_means_over_the_steps_that_had_the_domain(self, make_session, monkeypatch):
        session, reports = make_session(epochs=2, batch_size=1), []
        step = Trainer._step

        def keep(trainer, *arguments):
            reports.append(step(trainer, *arguments))
            return reports[-1]

        monkeypatch.setattr(Trainer, "_step", keep)
        session.train()
        record, reports = session.records[1], reports[session.steps_per_epoch :]
        assert len(reports) == session.steps_per_epoch
        for number, domain in enumerate(("Books", "Food", "Tools")):
            here = [r for r in reports if r.domain_counts[number] > 0]
            for field, of in (
                (record["loss"]["cross"], lambda r, n=number: r.domain_losses["cross"][n]),
                (record["transfer_gap"], lambda r, n=number: r.transfer_gap[n]),
                (record["weight"], lambda r, n=number: r.weights[n]),
            ):
                assert field[domain] == pytest.approx(sum(float(of(r)) for r in here) / len(here), rel=1e-5)
        assert any(r.domain_counts.min() == 0 for r in reports)
        total = sum(float(r.total.detach()) for r in reports) / len(reports)
        assert record["loss"]["total"] == pytest.approx(total, rel=1e-5)


class TestStep:
    def test_the_learning_rate_of_every_step_is_that_of_the_schedule(self, make_session, monkeypatch):
        session, rates = make_session(epochs=2, warmup_steps=3, learning_rate=0.01), []
        step = session.trainer.optimizer.step
        monkeypatch.setattr(
            session.trainer.optimizer,
            "step",
            lambda: (rates.append([g["lr"] for g in session.trainer.optimizer.param_groups]), step())[1],
        )
        session.train()
        total = 2 * session.steps_per_epoch
        expected = [learning_rate(session.trainer.config, n, total) for n in range(total)]
        assert rates == [[rate] * 2 for rate in expected]
        assert [r["learning_rate"] for r in session.records] == [expected[total // 2 - 1], expected[-1]]

    def test_the_gradient_is_cut_to_the_largest_norm(self, make_session, monkeypatch):
        session, norms = make_session(epochs=1, gradient_clip=0.01), []
        optimizer = session.trainer.optimizer
        step = optimizer.step

        def measured():
            gradients = [p.grad for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
            norms.append(float(torch.stack([g.norm() for g in gradients]).norm()))
            step()

        monkeypatch.setattr(optimizer, "step", measured)
        session.train()
        assert norms == pytest.approx([0.01] * session.steps_per_epoch, rel=1e-3)


class TestState:
    def test_the_relative_gap_is_saved_and_restored(self, make_session):
        first = make_session(epochs=1)
        first.train()
        second = make_session(epochs=1, seed=5)
        assert second.trainer.resume() is True
        gap = first.trainer.objective.correction.relative_gap
        assert gap.abs().sum() > 0
        assert torch.equal(second.trainer.objective.correction.relative_gap, gap)

    def test_without_a_checkpoint_there_is_nothing_to_resume(self, make_session):
        assert make_session().trainer.resume() is False

    def test_training_teaches(self, make_session):
        session = make_session(epochs=12, learning_rate=0.02, warmup_steps=1)
        session.train()
        first, last = (session.records[i]["loss"] for i in (0, -1))
        for answer in ("cross", "single"):
            assert last[answer]["Tools"] < first[answer]["Tools"] - 0.2

    def test_evaluation_inside_training_leaves_the_model_training(self, make_session):
        session, modes = make_session(epochs=2, model={"dropout": 0.2}), []
        step = session.trainer._step
        session.trainer._step = lambda *a: (modes.append(session.trainer.model.training), step(*a))[1]
        session.train()
        assert all(modes)

    @pytest.mark.parametrize("kind", ["sampled", "bce", "gbce"])
    def test_every_loss_trains(self, make_session, kind):
        session = make_session(loss={"kind": kind, "num_negatives": 4}, epochs=1, precision="bfloat16")
        assert session.train() is True
