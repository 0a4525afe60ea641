"""The simulations of cross-fitted intervals: worlds whose errors are known, and the table."""

import csv

import numpy as np
import pytest

from experiments.benchmarks import cross_fitting
from experiments.benchmarks.worlds import Blobs, Curve, Learned, Probit, random_features


def test_a_small_world_keeps_its_promises_and_is_not_simulated_again(tmp_path, capsys):
    path = tmp_path / "table.csv"
    options = ["--studies", "20", "--processes", "1", "--only", "probit, 150, 5%"]
    assert cross_fitting.main([*options, "--table", str(path)]) == 0
    with path.open(newline="") as file:
        rows = {line["quantity"]: line for line in csv.DictReader(file)}
    assert "20 of 20 studies" in capsys.readouterr().err
    assert float(rows["unseen"]["truth"]) == pytest.approx(0.05, abs=0.002)
    assert float(rows["gap"]["truth"]) == pytest.approx(0.03, abs=0.01)
    assert all(line["kept"] == "yes" for line in rows.values() if line["coverage"])
    assert float(rows["gap, against one split"]["width"]) < 0.45
    before = path.read_text()
    assert cross_fitting.main([*options, "--table", str(path)]) == 0
    assert path.read_text() == before
    assert capsys.readouterr().err == ""


def test_a_study_is_the_same_alone_and_among_others():
    first = cross_fitting.simulate("probit, 150, 5%", 300, 3)[2]
    alone = cross_fitting.simulate("probit, 150, 5%", 302, 1)[0]
    assert {name: found.estimate for name, found in first.items()} == {
        name: found.estimate for name, found in alone.items()
    }


@pytest.mark.parametrize(
    "data", [Blobs(), Blobs(10, 2.0, wrong=0.2), Blobs(2, 3.0, wrong=0.2), Curve(uneven=True)]
)
def test_the_risk_is_the_mean_loss(data):
    """Predictions that depend on the inputs; their losses vary about the risk."""
    pool = data.draw(40_000, np.random.default_rng(0))
    score = pool.x @ data.means().T if data.classes else pool.x[:, :1]
    predictions = (score.argmax(1) if data.classes else score[:, 0])[None]
    losses = Learned(data, 40, random_features, 1.0, 1.0, 40).losses(predictions, pool.y)
    apart = losses[0] - data.risk(pool.x, predictions)[0]
    assert abs(apart.mean()) < 4 * apart.std() / np.sqrt(len(apart))


def test_networks_of_a_probit_world_err_as_often_as_they_should():
    world = Probit(20_000, 0.2, 0.05, network=0.3)
    study = world.study(np.random.default_rng(0), one_split=False)
    unseen = np.array(
        [losses[~seen].mean() for losses, seen in zip(study.losses, study.seen, strict=True)]
    )
    assert np.abs(unseen - study.errors).max() < 4 * np.sqrt(0.2 * 0.8 / 2500)
    assert study.errors.std() > 0.03
    assert study.losses[study.seen].mean() == pytest.approx(0.05, abs=0.03)
