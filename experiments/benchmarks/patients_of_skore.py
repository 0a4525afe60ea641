"""The patients whose networks are scikit-learn's: skore's checks beside
`Diagnosis.from_predictions`.

    python -m experiments.benchmarks.patients_of_skore [--seeds 20]      pip install skore

skore has no word for a mismatch; its "overfitting" is taken as high variance, "underfitting" as
high bias, and neither as good enough.
"""

import argparse
import sys
import warnings
from collections import Counter
from typing import Any

import numpy as np
import skore
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import jaxnet
from experiments.benchmarks.patients import PATIENTS, judged
from jaxnet import Diagnosis

NETWORKS = 16
# of skore, than over- and underfitting
OTHER_CHECKS = [f"SKD{number:03d}" for number in range(3, 17)]


def said(fitted: list[Any], x: np.ndarray) -> np.ndarray:
    """Predictions (members, examples), or (examples,) of one."""
    predictions = np.stack([each.predict(x) for each in fitted])
    return predictions[0] if len(fitted) == 1 else predictions


def beside_skore(seeds: int) -> int:
    """scikit-learn's networks, by skore and by from_predictions."""
    warnings.filterwarnings("ignore")
    print(
        f"{'patient':48s}{'jaxnet: right':>14s}{'opposite':>9s}{'skore: right':>14s}"
        f"{'opposite':>9s}"
    )
    for name, patient in PATIENTS.items():
        ours, theirs = Counter[str](), Counter[str]()
        for seed in range(seeds):
            splits = patient.splits(seed)
            parts = [
                (np.asarray(d.x).reshape(len(d), -1), np.asarray(d.y))
                for d in (splits.train, splits.validation, splits.test)
            ]
            x, y = parts[0]
            hidden = (512,) if "512" in patient.model.name else (64,)
            if patient.model == jaxnet.linear():
                fitted = [LogisticRegression().fit(x, y)]
            else:
                how = {
                    "max_iter": patient.recipe.epochs,
                    "batch_size": 64,
                    "learning_rate_init": patient.recipe.learning_rate,
                }
                fitted = [
                    make_pipeline(
                        StandardScaler(), MLPClassifier(hidden, random_state=i, **how)
                    ).fit(x, y)
                    for i in range(NETWORKS)
                ]
            train, validation, test = ((said(fitted, new), labels) for new, labels in parts)
            found = Diagnosis.from_predictions(train, validation, test, tolerance=patient.tolerance)
            ours[judged(found.verdict, patient.right)] += 1
            report = skore.EstimatorReport(
                clone(fitted[0]), X_train=x, y_train=y, X_test=parts[2][0], y_test=parts[2][1]
            )
            checks = report.checks.summarize(ignore=OTHER_CHECKS).frame("all")
            codes = set(checks["code"][checks["section"] == "issue"])
            words = [
                word
                for code, word in (("SKD001", "high variance"), ("SKD002", "high bias"))
                if code in codes
            ]
            theirs[judged(" and ".join(words) or "good enough", patient.right)] += 1
        print(
            f"{name:48s}{ours['right']:14d}{ours['opposite']:9d}{theirs['right']:14d}"
            f"{theirs['opposite']:9d}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    sys.exit(beside_skore(parser.parse_args().seeds))
