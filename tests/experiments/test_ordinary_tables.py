"""The three ordinary tables: their truth is what they say, and their files hold their values."""

import itertools

import numpy as np
import pandas
import pytest
import scipy.stats
from scripts import result
from sklearn.model_selection import GroupKFold, KFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from experiments.benchmarks import ordinary, ordinary_tables
from experiments.benchmarks.ordinary_tables import TABLES, customers, houses, patients
from jaxnet.cli import commands


def labels(table):
    return table.values[table.label]


def test_customers_have_a_bayes_error_of_27_percent():
    many = customers(0, 50_000)
    assert many.least_error == pytest.approx(0.27, abs=0.004)
    wrong = (many.truth > 0.5) != (labels(many) == "yes")
    assert wrong.mean() == pytest.approx(many.least_error, abs=4 * (0.27 * 0.73 / 50_000) ** 0.5)


def test_the_truth_of_new_patients_is_the_share_of_relapses():
    many = patients(0, 15_000)
    relapse = labels(many) == "relapse"
    edges = np.quantile(many.truth, np.linspace(0, 1, 11))
    for low, high in itertools.pairwise(edges):
        some = (many.truth >= low) & (many.truth < high)
        # rows of a patient are alike: 3.26 rows count as one at worst
        error = np.sqrt(3.26 * many.truth[some].mean() / some.sum())
        assert relapse[some].mean() == pytest.approx(many.truth[some].mean(), abs=4 * error)


def test_prices_scatter_about_their_truth():
    many = houses(0, 20_000)
    apart = labels(many) - many.truth
    assert apart.mean() == pytest.approx(0, abs=4 * 30_000 / 20_000**0.5)
    assert (apart**2).mean() == pytest.approx(many.least_error, rel=0.04)
    assert labels(many).min() > 0


def test_sizes_and_rows_of_one_patient():
    assert len(labels(customers(0))) == 2000
    assert len(labels(houses(0))) == 1200
    for seed in range(5):
        table = patients(seed)
        assert len(labels(table)) == 300
        assert len(np.unique(table.values["patient_id"])) == 92
        assert 0.05 < np.mean(labels(table) == "relapse") < 0.35


def test_a_leak_between_rows_of_a_patient_flatters():
    """A nearest neighbor that may see other rows of a patient errs less than anybody can with a new
    patient.
    """
    table = patients(1, 500)
    numbers = ["age", "weight", "pressure", "glucose"]
    x = np.column_stack([table.values[name] for name in numbers])
    x, y, who = x / x.std(0), labels(table), table.values["patient_id"]
    nearest = KNeighborsClassifier(1)
    leaked = 1 - cross_val_score(nearest, x, y, cv=KFold(5)).mean()
    apart = 1 - cross_val_score(nearest, x, y, groups=who, cv=GroupKFold(5)).mean()
    assert leaked < table.least_error < apart


@pytest.mark.parametrize("name", TABLES)
def test_files_hold_the_values_and_are_the_same_for_a_seed(name, tmp_path, capsys):
    assert ordinary_tables.main([str(tmp_path), "--seed", "3"]) == 0
    table, path = TABLES[name](3), tmp_path / f"{name}.csv"
    assert path.read_text() == table.write(tmp_path / "again.csv").read_text()
    frame = pandas.read_csv(path, keep_default_na=False)
    for (column, values), cells in zip(table.values.items(), frame.items(), strict=True):
        assert cells[0] == column or (column, cells[0]) == ("", "Unnamed: 0")
        text = cells[1].astype(str)
        if values.dtype.kind == "f":
            plain = text.str.replace(" m2", "").str.replace(" km", "").replace("", "nan")
            np.testing.assert_array_equal(plain.astype(float), values)
        elif values.dtype.kind == "M":
            np.testing.assert_array_equal(pandas.to_datetime(text, format="mixed"), values)
        else:
            assert list(text) == [str(each) for each in values]
    gaps = sum((cells == "").sum() for _, cells in frame.astype(str).items())
    assert gaps > 10


def test_paired_differences_of_equal_groups_are_those_of_their_means():
    values = np.random.default_rng(0).normal(1, 3, (12, 5))
    found = ordinary.paired(values.ravel(), np.repeat(np.arange(12), 5))
    low, high = scipy.stats.ttest_1samp(values.mean(1), 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((low, high))
    low, high = scipy.stats.ttest_1samp(values.ravel(), 0).confidence_interval()
    alone = ordinary.paired(values.ravel(), None)
    assert (alone.low, alone.high) == pytest.approx((low, high))
    assert found.estimate == alone.estimate == pytest.approx(values.mean())


def test_losses_are_in_percent():
    assert ordinary.losses(np.array([0, 1, 1]), np.array([0, 1, 0]), None).tolist() == [0, 0, 100]
    sure = np.log([[0.9, 0.1], [0.3, 0.7]])
    assert ordinary.losses(sure, np.array([1, 1]), None).tolist() == [100, 0]
    assert ordinary.losses(np.array([1.0, 3.0]), np.array([1, 1]), 8.0).tolist() == [0, 50]


def test_each_promise_of_the_study_can_break(capsys):
    row = dict.fromkeys(ordinary.FIELDS, "1") | {"verdict": "high variance", "table": "customers"}
    missed = row | {"unseen_low": "2", "unseen_high": "3"}
    assert ordinary.report([row] * 17 + [missed] * 3) == 0
    assert ordinary.report([row] * 16 + [missed] * 4) == 1
    assert ordinary.report([row] * 19 + [row | {"verdict": "high bias"}]) == 1
    assert "of these networks in 16" in capsys.readouterr().out


@pytest.mark.slow
def test_the_study_reports_what_the_command_writes(tmp_path):
    """The table of the study is kept by the quick tests above."""
    options = ("--model", "linear", "--members", "8", "--epochs", "2")
    row = ordinary.study("patients", 0, options)
    path = patients(0).write(tmp_path / "patients.csv")
    words = [str(path), "--label", "outcome", *options, "--out", str(tmp_path / "run")]
    assert commands.run("diagnose", words, began=0.0) == 0
    written = result(tmp_path / "run")
    for name, part in (("unseen", "validation"), ("test", "test")):
        size = written["error"][part]
        for key in ("estimate", "low", "high"):
            given = row[name if key == "estimate" else f"{name}_{key}"]
            assert f"{100 * size[key]:.2f}" == given
    assert written["dataset"]["grouped_by"] == row["groups"] == "patient_id"
