"""What the public functions of the diagnostics, `predict` and `evaluate` do with arrays that are
not as they should be: one table.

A row is an argument of a function, a column a way to spoil it, a cell the right answer:

    R  refused with an InputError
    =  the number that NumPy, SciPy or scikit-learn computes from the same arrays
    W  the same, with predictions that are not numbers counted as wrong
    I  an Estimate without a number, which says why
    -  does not apply: the function takes neither probabilities nor their logarithms, or has no
      other array of the same length
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats

import jaxnet
from jaxnet import arrays, diagnostics
from jaxnet.diagnostics import Diagnosis, Estimate
from jaxnet.errors import InputError

# What is given, one column each.
COLUMNS = [
    *("nan", "inf", "-inf", "empty", "ragged", "text", "object", "bool", "-1/+1"),
    *("1..K", "10^9", "one-hot", "(n,1)", "short", "mask", "p", "log"),
]
TABLE = """
calibration                   log_probabilities  R R = R R R R R R R R R R R R R -
calibration                   labels             R R R R R R R = R R R R R R R - R
class_scores                  log_probabilities  W = = R R R R R = = = R R R R = -
class_scores                  labels             R R R R R R R = R R R R R R R - R
value_scores                  predictions        R R R R R R R = = = = R R R R - -
value_scores                  values             R R R R R R R = = = = R R R R - -
cross_fitted_errors           losses             = = R R R R R = R = = R R R R - -
cross_fitted_errors           seen               R R R R R R R = R R R R R R R R R
deviation                     values             R R R I R R R = = = = R R = R - -
ensemble_gain:zero_one        predictions        R R R R R R R = = = = R R R R - =
ensemble_gain:zero_one        labels             R R R R R R R = = = = R R R R - R
ensemble_gain:mean            predictions        R R = R R R R R R R R R R R R R -
ensemble_gain:squared         predictions        R R R R R R R = = = = R R R R - -
ensemble_gain:squared         labels             R R R R R R R = = = = R R R R - -
ensemble_gain:brier           predictions        R R = R R R R R R R R R R R R R -
ensemble_gain:brier           labels             R R R R R R R = R R R R R R R - R
error_ladder                  train              I I I R R R R = = = = R R = R - -
error_ladder                  test               I I I R R R R = = = = R R = R - -
error_of                      wrong              I I I R R R R = = = = R R = R - -
estimate_error_without_labels reference          R R = R R R R R R R R R R R R R -
estimate_error_without_labels labels             R R R R R R R = R R R R R R R - R
estimate_error_without_labels new                R R = R R R R R R R R R R = R R -
examples_needed               sizes              R R R R R R R R R R = R R R R - -
examples_needed               errors             R R R R R R R = R R R R R R R R R
extrapolate                   sizes              R R R R R R R R R R I R R R R - -
extrapolate                   errors             R R R R R R R = R R R R R R R R R
bias_variance:squared         predictions        R R R R R R R = = = = R R R R - -
bias_variance:squared         labels             R R R R R R R = = = = R R R R - -
bias_variance:zero_one        predictions        R R R R R R R = = = = R R R R - =
bias_variance:zero_one        labels             R R R R R R R = = = = R R R R - R
bias_variance:kohavi_wolpert  predictions        R R R R R R R = = = = R R R R - =
bias_variance:kohavi_wolpert  labels             R R R R R R R = = = = R R R R - R
bias_variance:largest         predictions        R R = R R R R R R R R R R R R R -
bias_variance:largest         labels             R R R R R R R = R R R R R R R - R
bias_variance:cross_entropy   predictions        R R = R R R R R R R R R R R R R -
bias_variance:cross_entropy   labels             R R R R R R R = R R R R R R R - R
bias_variance:brier           predictions        R R = R R R R R R R R R R R R R -
bias_variance:brier           labels             R R R R R R R = R R R R R R R - R
bias_variance:seen            seen               R R R R R R R = R R R R R R R R R
paired_decomposition:squared  a                  R R R R R R R = = = = R R R R - -
paired_decomposition:classes  a                  R R R R R R R = = = = R R R R - =
paired_decomposition:classes  b                  R R R R R R R = = = = R R R R - =
paired_decomposition:classes  labels             R R R R R R R = = = = R R R R - R
paired_decomposition:brier    b                  R R = R R R R R R R R R R R R R -
sample_and_seed:squared       predictions        R R R R R R R = = = = R R R R - -
sample_and_seed:squared       labels             R R R R R R R = = = = R R R R - -
sample_and_seed:classes       predictions        R R R R R R R = = = = R R R R - =
sample_and_seed:classes       labels             R R R R R R R = = = = R R R R - R
sample_and_seed:brier         predictions        R R = R R R R R R R R R R R R R -
sample_and_seed:brier         labels             R R R R R R R = R R R R R R R - R
hard_examples                 log_probabilities  R R = R R R R R R R R R R R R R -
hard_examples                 labels             R R R R R R R = R R R R R R R - R
hard_examples                 seen               R R R R R R R = R R R R R R R R R
wrong_labels                  log_probabilities  R R = R R R R R R R R R R R R R -
wrong_labels                  labels             R R R R R R R = R R R R R R R - R
label_shift:classes           reference          R R R R R R R = R I R = R R R - I
label_shift:classes           reference_labels   R R R R R R R = R I R R R R R - R
label_shift:classes           new_predictions    R R R R R R R = R I R = R = R - =
label_shift:scores            reference          R R = R R R R R = = = R R R R = =
label_shift:scores            new_predictions    R R = R R R R R = = = R R = R = =
mean                          values             R I I I R R R = = = = R R = R - -
network_difference            a                  I I I R R R R = = = = R R R R - -
network_difference            b                  I I I R R R R = = = = R R R R - -
paired_difference             a                  I I I R R R R = = = = R R R R - -
paired_difference             b                  I I I R R R R = = = = R R R R - -
repeated                      values             R R R I R R R = = = = R R = R - -
scaled                        log_probabilities  R R = R R R R R = = = R = = R R -
temperature                   log_probabilities  R R = R R R R R R R R R R R R R -
temperature                   labels             R R R R R R R = R R R R R R R - R
two_sample_test:bbsd          reference          R = = R R R R = = = = R R = R - -
two_sample_test:bbsd          new                R = = R R R R = = = = R R = R - -
two_sample_test:classifier    reference          R R R R R R R = = = = R R = R - -
two_sample_test:mmd           new                R R R R R R R = = = = R R = R - -
validation_curve              training           R R R R R R R = = = = R R = R - -
validation_curve              validation         R R R R R R R = = = = R R R R - -
Diagnosis:classes             predictions        W R R R R = R = = = = R R R R - R
Diagnosis:classes             labels             R R R R R = R = = = = R R R R - R
Diagnosis:classes             partition          W R R R R = R = = = = R R R R - R
Diagnosis:log_probabilities   predictions        W R = R R R R R R R R R R R R R -
Diagnosis:log_probabilities   labels             R R R R R R R = R R R R R R R - R
Diagnosis:values              predictions        R R R R R R R = = = = R R R R - -
Diagnosis:values              labels             R R R R R R R R = = = R R R R - -
evaluate:classes              x                  R R R R R R R = = = = R R R R - -
evaluate:classes              y                  R R R R R R R = R R R R R R R - R
evaluate:values               x                  R R R R R R R = = = = R R R R - -
evaluate:values               y                  R R R R R R R = = = = R R R R - -
predict                       x                  R R R = R R R = = = = R R = R - -
"""
# Of names in the table that would make it wider than a screen.
SHORT = {
    "bias_variance": "bias_variance_decomposition",
    "sample_and_seed": "sample_and_seed_variance",
    "Diagnosis": "from_predictions",
}
# they take Estimates, weights and counts, or what training returned
NO_ARRAYS = {"combination", "exact", "find_failure", "loss_course", "seeds_needed", "wilson"}

N, M, K = 200, 4, 2
RNG = np.random.default_rng(0)
Y = RNG.permutation(np.arange(N) % K)
CLASSES = np.where(RNG.random((M, N)) < 0.85, Y, 1 - Y)
SCORES = 2.5 * np.eye(K)[Y] + RNG.normal(size=(M, N, K))
LOG_P = scipy.special.log_softmax(SCORES, -1)
VALUES = Y + 0.5 * RNG.normal(size=(M, N))
LOSSES = RNG.random((M, N))
SEEN = RNG.random((M, N)) < 0.1
# members that agree
SURE = np.tile(
    scipy.special.log_softmax(RNG.uniform(1, 3, N)[:, None] * np.eye(K)[Y], -1), (M, 1, 1)
)
# of which they are surest, two labels are wrong
DOUBTED = np.where(np.isin(np.arange(N), np.argsort(-SURE[0].max(1))[:2]), 1 - Y, Y)
SIZES, ERRORS = (
    np.array([100, 200, 400, 800, 1600]),
    0.5 * np.array([1, 0.7, 0.5, 0.35, 0.25])[:, None] + 0.01 * RNG.random((5, 5)),
)
BELOW, ABOVE = RNG.uniform(-2, -1, (60, 3)), RNG.uniform(1, 2, (60, 3))


class Case(NamedTuple):
    """A function with good arrays. call: gives a number or an Estimate. oracle: the number, from
    the same arrays.
    """

    call: Callable[..., Any]
    oracle: Callable[..., Any]
    arrays: dict[str, Any]
    digits: float = 1e-9


def share(f: np.ndarray, y: np.ndarray) -> float:
    """Of predictions, class numbers or log-probabilities, that are not the label; NaN is none."""
    return largest(f, y) if f.ndim > 2 else float(np.mean(f != y))


def largest(log_p: np.ndarray, y: np.ndarray) -> float:
    numbers = ~np.isnan(log_p).any(-1)
    return float(np.mean(~numbers | (np.nan_to_num(log_p, nan=-1.0, neginf=-1e9).argmax(-1) != y)))


def squares(f: np.ndarray, y: np.ndarray) -> float:
    return float(np.mean((f.astype(float) - y.astype(float)) ** 2))


def brier(log_p: np.ndarray, y: np.ndarray) -> float:
    return float(((np.exp(log_p) - np.eye(K)[y.astype(int)]) ** 2).sum(-1).mean())


def entropy(log_p: np.ndarray, y: np.ndarray) -> float:
    log_p = scipy.special.log_softmax(np.maximum(log_p, np.log(np.finfo(np.float32).tiny)), -1)
    return float(
        -np.take_along_axis(
            log_p, np.broadcast_to(y.astype(int)[:, None], (*log_p.shape[:-1], 1)), -1
        ).mean()
    )


def voted(f: np.ndarray, y: np.ndarray) -> float:
    if f.ndim > 2:
        return averaged(largest)(f, y)
    names, codes = np.unique(f, return_inverse=True)
    votes = (codes.reshape(f.shape)[..., None] == np.arange(len(names))).sum(0)
    return float(np.mean(names[votes.argmax(1)] != y))


def likeliest(log_p: np.ndarray, y: np.ndarray) -> float:
    log_p = np.maximum(log_p, np.log(np.finfo(np.float32).tiny))

    def loss(log_t: float) -> float:
        return entropy(log_p / np.exp(log_t), y)

    return float(
        np.exp(
            scipy.optimize.minimize_scalar(
                loss, bounds=(-5, 5), method="bounded", options={"xatol": 1e-9}
            ).x
        )
    )


def frequency(reference: np.ndarray, labels: np.ndarray, new: np.ndarray) -> float:
    of, to = (each.argmax(1) if each.ndim == 2 else each.astype(int) for each in (reference, new))
    confusion = np.array([[np.mean(of[labels == k] == j) for k in range(K)] for j in range(K)])
    return float(np.clip(np.linalg.solve(confusion, [np.mean(to == j) for j in range(K)])[0], 0, 1))


def bias_variance(loss: str, f: np.ndarray, y: np.ndarray, oracle: Callable[..., float]) -> Case:
    of = diagnostics.bias_variance_decomposition
    return Case(
        lambda predictions, labels: of(predictions, labels, loss=loss).loss,
        oracle,
        {"predictions": f, "labels": y},
    )


def paired(
    loss: str, f: np.ndarray, g: np.ndarray, y: np.ndarray, oracle: Callable[..., float]
) -> Case:
    of = diagnostics.paired_decomposition
    arrays = {"a": f, "b": g, "labels": y}
    return Case(
        lambda a, b, labels: of(a, b, labels, loss=loss).loss,
        lambda a, b, labels: oracle(a, labels) - oracle(b, labels),
        arrays,
    )


def seeds(loss: str, f: np.ndarray, y: np.ndarray, oracle: Callable[..., float]) -> Case:
    """2 samples of 2 seeds."""
    of = diagnostics.sample_and_seed_variance
    arrays = {"predictions": f.reshape(2, 2, *f.shape[1:]), "labels": y}
    return Case(
        lambda predictions, labels: of(predictions, labels, loss=loss).loss,  # pyrefly: ignore[bad-argument-type]
        lambda predictions, labels: oracle(predictions.reshape(-1, *predictions.shape[2:]), labels),
        arrays,
    )


def ensemble(loss: str, f: np.ndarray, y: np.ndarray, oracle: Callable[..., float]) -> Case:
    of = diagnostics.ensemble_gain
    return Case(
        lambda predictions, labels: of(predictions, labels, loss=loss).ensemble,
        oracle,
        {"predictions": f, "labels": y},
    )


def averaged(oracle: Callable[..., float]) -> Callable[..., float]:
    return lambda f, y: oracle(np.log(np.exp(f).mean(0, keepdims=True)), y)


def diagnosis(f: np.ndarray, y: np.ndarray, oracle: Callable[..., float]) -> Case:
    def call(predictions: Any, labels: Any, train: Any, train_labels: Any) -> Any:
        return Diagnosis.from_predictions(
            (train, train_labels), None, (predictions, labels)
        ).errors["test"]

    def number(predictions: Any, labels: Any, train: Any, train_labels: Any) -> float:
        return oracle(predictions, labels) / (np.var(train_labels) if oracle is squares else 1)

    return Case(call, number, {"predictions": f, "labels": y, "train": f, "train_labels": y})


def partitioned(partition: Any, f: Any, y: Any) -> Any:
    found = Diagnosis.from_predictions((f, y), None, (f, y), partitions={2: partition})
    if not found.decompositions or all(each.design != "partition" for each in found.decompositions):
        assert "partition" in " ".join(found.notes)
        return float("nan")
    return found.decompositions[-1].loss


def losses(function: Callable[..., Any]) -> Case:
    one = LOSSES if function is diagnostics.paired_difference else LOSSES[0]
    return Case(
        function, lambda a, b: np.mean(a.astype(float) - b), {"a": one, "b": one[..., ::-1]}
    )


def unseen_mean(losses: np.ndarray, seen: np.ndarray) -> float:
    """Of two folds of 100 examples; networks with a loss that is not finite are left out."""
    sound = np.isfinite(losses).all(1)
    folds = (sound & ~seen[:, fold] for fold in (0, 1))
    return float(np.mean([losses[networks][:, ~seen[networks][0]].mean() for networks in folds]))


def two_sample(method: str, oracle: Callable[..., float]) -> Case:
    of = diagnostics.two_sample_test
    told = (lambda found: found.statistic) if method == "bbsd" else lambda found: found.shifted
    return Case(
        lambda reference, new: told(of(reference, new, method=method)),
        oracle,
        {"reference": BELOW, "new": ABOVE},
    )


def ladder(part: str) -> Case:
    def call(train: Any, test: Any) -> Any:
        found = diagnostics.error_ladder({"train": train, "test": test})
        return found.errors[part]

    return Case(
        call,
        lambda train, test: np.mean({"train": train, "test": test}[part]),
        {"train": LOSSES[0], "test": LOSSES[1]},
    )


D = diagnostics
CASES: dict[str, Case] = {
    "class_scores": Case(
        lambda log_probabilities, labels: (
            D.class_scores(log_probabilities, labels).balanced_accuracy.estimate
        ),
        lambda log_p, y: np.mean([1 - largest(log_p[y == k], y[y == k]) for k in np.unique(y)]),
        {"log_probabilities": LOG_P[0], "labels": Y},
    ),
    "value_scores": Case(
        lambda predictions, values: D.value_scores(predictions, values).mae.estimate,
        lambda f, y: np.mean(np.abs(f.astype(float) - y.astype(float))),
        {"predictions": VALUES[0], "values": VALUES[1]},
    ),
    "cross_fitted_errors": Case(
        lambda losses, seen: D.cross_fitted_errors(losses, seen).unseen.estimate,
        unseen_mean,
        {"losses": LOSSES, "seen": np.arange(N) % 2 != np.arange(M)[:, None] // 2},
    ),
    "calibration": Case(
        lambda log_probabilities, labels: D.calibration(log_probabilities, labels).overconfidence,
        lambda log_probabilities, labels: (
            np.exp(log_probabilities.max(1)).mean() - 1 + largest(log_probabilities, labels)
        ),
        {"log_probabilities": LOG_P[0], "labels": Y},
    ),
    "deviation": Case(D.deviation, lambda values: np.std(values, ddof=1), {"values": LOSSES[0]}),
    "ensemble_gain:zero_one": ensemble("zero_one", CLASSES, Y, voted),
    "ensemble_gain:mean": ensemble("zero_one", LOG_P, Y, averaged(largest)),
    "ensemble_gain:squared": ensemble(
        "squared", VALUES, VALUES[0], lambda f, y: squares(f.mean(0), y)
    ),
    "ensemble_gain:brier": ensemble("brier", LOG_P, Y, averaged(brier)),
    "error_ladder:train": ladder("train"),
    "error_ladder:test": ladder("test"),
    "error_of": Case(D.error_of, np.mean, {"wrong": LOSSES}),
    "estimate_error_without_labels": Case(
        lambda reference, labels, new: (
            D.estimate_error_without_labels(reference, labels, new).reference
        ),
        lambda reference, labels, new: largest(reference, labels),
        {"reference": LOG_P[0], "labels": Y, "new": LOG_P[1]},
    ),
    "examples_needed": Case(
        lambda sizes, errors: D.examples_needed(sizes, errors, 0.999, 1000).at_least,
        lambda sizes, errors: sizes[-1],
        {"sizes": SIZES, "errors": ERRORS},
    ),
    "extrapolate": Case(
        lambda sizes, errors: D.extrapolate(sizes, errors, 1601, 1000),
        lambda sizes, errors: errors[-1].mean(),  # hardly farther than was measured
        {"sizes": SIZES, "errors": ERRORS},
        0.05,
    ),
    "bias_variance:squared": bias_variance("squared", VALUES, VALUES[0], squares),
    "bias_variance:zero_one": bias_variance("zero_one", CLASSES, Y, share),
    "bias_variance:kohavi_wolpert": bias_variance("zero_one_kohavi_wolpert", CLASSES, Y, share),
    "bias_variance:largest": bias_variance("zero_one", LOG_P, Y, largest),
    "bias_variance:cross_entropy": bias_variance("cross_entropy", LOG_P, Y, entropy),
    "bias_variance:brier": bias_variance("brier", LOG_P, Y, brier),
    "bias_variance:seen": Case(
        lambda seen: (
            D.bias_variance_decomposition(VALUES, VALUES[0], loss="squared", seen=seen).loss
        ),
        lambda seen: np.mean(
            [
                np.mean((VALUES[~seen[:, i], i] - VALUES[0, i]) ** 2)
                for i in range(N)
                if (~seen[:, i]).sum() > 2
            ]
        ),
        {"seen": SEEN},
    ),
    "paired_decomposition:squared": paired("squared", VALUES, VALUES[:, ::-1], VALUES[0], squares),
    "paired_decomposition:classes": paired(
        "zero_one_kohavi_wolpert", CLASSES, CLASSES[:, ::-1], Y, share
    ),
    "paired_decomposition:brier": paired("brier", LOG_P, LOG_P[:, ::-1], Y, brier),
    "sample_and_seed:squared": seeds("squared", VALUES, VALUES[0], squares),
    "sample_and_seed:classes": seeds("zero_one_kohavi_wolpert", CLASSES, Y, share),
    "sample_and_seed:brier": seeds("brier", LOG_P, Y, brier),
    "hard_examples": Case(
        lambda log_probabilities, labels, seen: sum(
            e.contradicted for e in D.hard_examples(log_probabilities, labels, seen=seen)
        ),
        lambda log_probabilities, labels, seen: (
            np.ma.masked_array(log_probabilities.argmax(2) != labels, seen).mean(0).sum()
        ),
        {"log_probabilities": LOG_P, "labels": Y, "seen": SEEN},
    ),
    "wrong_labels": Case(
        D.wrong_labels,
        lambda log_probabilities, labels: 2 / (N / 2),
        {"log_probabilities": SURE, "labels": DOUBTED},
    ),
    "label_shift:classes": Case(
        lambda reference, labels, new: D.label_shift(reference, labels, new).frequencies[0],
        frequency,
        {"reference": CLASSES[0], "reference_labels": Y, "new_predictions": CLASSES[1]},
    ),
    "label_shift:scores": Case(
        lambda reference, new: D.label_shift(reference, Y, new).frequencies[0],
        lambda reference, new: frequency(reference, Y, new),
        {"reference": LOG_P[0], "new_predictions": LOG_P[1]},
    ),
    "mean": Case(D.mean, np.mean, {"values": LOSSES[0]}),
    "network_difference": losses(D.network_difference),
    "paired_difference": losses(D.paired_difference),
    "repeated": Case(D.repeated, np.mean, {"values": LOSSES[0]}),
    "scaled": Case(
        lambda log_probabilities: np.exp(D.scaled(log_probabilities, 2.0))[..., 0].sum(),
        lambda log_probabilities: scipy.special.softmax(log_probabilities / 2, -1)[..., 0].sum(),
        {"log_probabilities": LOG_P[0]},
    ),
    "temperature": Case(
        D.temperature, likeliest, {"log_probabilities": LOG_P[0], "labels": Y}, 1e-5
    ),
    "two_sample_test:bbsd": two_sample(
        "bbsd",
        lambda reference, new: max(
            scipy.stats.ks_2samp(a, b).statistic for a, b in zip(reference.T, new.T, strict=True)
        ),
    ),
    "two_sample_test:classifier": two_sample(
        "classifier", lambda reference, new: True
    ),  # nothing is easier to tell apart
    "two_sample_test:mmd": two_sample("mmd", lambda reference, new: True),
    "validation_curve:training": Case(
        lambda training: D.validation_curve([training], [LOSSES]).training[0],
        lambda training: training.mean(),
        {"training": LOSSES},
    ),
    "validation_curve:validation": Case(
        lambda validation: D.validation_curve([LOSSES, LOSSES], [validation, LOSSES]).validation[0],
        lambda validation: validation.mean(),
        {"validation": LOSSES[:, ::-1]},
    ),
    "Diagnosis:classes": diagnosis(CLASSES, Y, share),
    "Diagnosis:partition": Case(
        partitioned,
        lambda partition, f, y: (
            share(partition, y) if partition.dtype.kind != "f" else float("nan")
        ),
        {"partition": CLASSES, "f": CLASSES, "y": Y},
    ),
    "Diagnosis:log_probabilities": diagnosis(LOG_P, Y, largest),
    "Diagnosis:values": diagnosis(VALUES, VALUES[0], squares),
}


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    """With those that need a network: two linear ones, hardly trained."""
    x, model, trained = RNG.normal(size=(N, 3)), jaxnet.linear(), {}
    for name, y, classes in (("classes", Y, ("0", "1")), ("values", 100 + x[:, 0], None)):
        splits = jaxnet.split(x, y)
        run = jaxnet.fit(model, splits, jaxnet.Recipe(epochs=1), jax.random.key(0))
        trained[name] = run, y, classes
    of = {}
    for name, (run, y, classes) in trained.items():
        layer = jax.tree.map(np.float64, run.params["output"])
        mean, scale = (
            np.float64(each) for each in (run.standardization.mean, run.standardization.scale)
        )

        def outputs(
            x: np.ndarray, layer: Any = layer, mean: Any = mean, scale: Any = scale
        ) -> np.ndarray:
            return (x.astype(np.float32).astype(float) - mean) / scale @ layer["kernel"] + layer[
                "bias"
            ]

        def metric(x: Any, y: Any, run: Any = run, classes: Any = classes) -> Any:
            found = jaxnet.evaluate(model, run, jaxnet.Dataset(x, y, classes))
            return found.error if classes else found.rmse

        def right(
            x: np.ndarray,
            y: np.ndarray,
            run: Any = run,
            classes: Any = classes,
            outputs: Any = outputs,
        ) -> float:
            if classes:
                return largest(outputs(x), y)
            values = outputs(x)[:, 0] * float(run.standardization.target_scale) + float(
                run.standardization.target_mean
            )
            return squares(values, y) ** 0.5

        of[f"evaluate:{name}"] = Case(metric, right, {"x": x, "y": y}, 1e-4)
        if classes:
            of["predict"] = Case(
                lambda x, run=run: np.exp(jaxnet.predict(model, run, x))[:, 0].sum(),
                lambda x, outputs=outputs: scipy.special.softmax(outputs(x), 1)[:, 0].sum(),
                {"x": x},
                1e-4,
            )
    return CASES | of


def is_classes(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind == "i" and array is not SIZES


def one_value(array: np.ndarray, value: float) -> np.ndarray:
    """One value in the place of one number, or of all that one member says of an example where that
    is more than one.
    """
    spoiled = np.array(array, float)
    spoiled[(0,) * spoiled.ndim] = value
    return spoiled


def impossible(array: np.ndarray) -> np.ndarray:
    """Log-probabilities of which one is that of 0; of other arrays, one value of -inf."""
    spoiled = np.array(array, float)
    if spoiled.ndim > 1 and spoiled.shape[-1] == K and np.allclose(np.exp(spoiled).sum(-1), 1):
        first = spoiled.reshape(-1, K)[0]
        first[:] = np.where(np.arange(K) == first.argmax(), 0.0, -np.inf)
        return spoiled
    return one_value(array, -np.inf)


def ragged(array: np.ndarray) -> list:
    rows = array.tolist()
    return [rows[0], [rows[1]], *rows[2:]]


def objects(array: np.ndarray) -> np.ndarray:
    spoiled = array.astype(object)
    spoiled[(0,) * spoiled.ndim] = None
    return spoiled


def high(array: np.ndarray) -> np.ndarray:
    return array > (0 if is_classes(array) or array.dtype == bool else np.median(array))


def hidden(array: np.ndarray) -> np.ma.MaskedArray:
    spoiled = np.ma.masked_array(array, np.zeros(array.shape, bool))
    spoiled[(0,) * array.ndim] = np.ma.masked
    return spoiled


def shortened(array: np.ndarray, of: str) -> np.ndarray:
    """Without its last example."""
    examples_first = of in (
        "log_probabilities",
        "x",
        "reference",
        "new",
        "errors",
        "new_predictions",
    )
    if array.ndim == 1 or (examples_first and array.ndim == 2):
        return array[:-1]
    return array[..., :-1] if array.ndim == 2 or array.shape[-1] == N else array[..., :-1, :]


def logarithms(array: np.ndarray) -> np.ndarray:
    return (
        np.log(np.full((*array.shape, K), 1 / K))
        if is_classes(array) or array.dtype == bool
        else -np.abs(array) - 0.1
    )


def wide(array: np.ndarray) -> np.ndarray:
    return array * 10**9 if array.dtype.kind == "i" else array * 1e9


# Ways to rename classes, which change all arrays of classes at once, and for numbers are other
# numbers.
RENAMED: dict[str, Callable[[np.ndarray], Any]] = {
    "text": lambda array: (
        np.array(["ant", "bee"])[array] if is_classes(array) else array.astype(str)
    ),
    "bool": high,
    "-1/+1": lambda array: np.where(high(array), 1, -1).astype(
        array.dtype if array.dtype.kind in "if" else int
    ),
    "1..K": lambda array: (high(array) + 1).astype(
        array.dtype if array.dtype.kind in "if" else int
    ),
    "10^9": wide,
}
SPOILED: dict[str, Callable[[np.ndarray], Any]] = {
    "nan": lambda array: one_value(array, np.nan),
    "inf": lambda array: one_value(array, np.inf),
    "-inf": impossible,
    "empty": lambda array: array[..., :0] if array.ndim != 2 or array.shape[-1] == N else array[:0],
    "ragged": ragged,
    "object": objects,
    "one-hot": lambda array: np.eye(K)[high(array).astype(int)],
    "(n,1)": lambda array: array[..., None],
    "mask": hidden,
    "p": np.exp,
    "log": logarithms,
}


def spoiled(arrays: dict[str, Any], argument: str, column: str) -> dict[str, Any]:
    """The arguments of a call, one of them spoiled."""
    array = arrays[argument]
    if column == "short":
        return arrays | {argument: shortened(array, argument)}
    if column in RENAMED and is_classes(array):
        return {
            name: RENAMED[column](each) if is_classes(each) else each
            for name, each in arrays.items()
        }
    return arrays | {argument: (RENAMED | SPOILED)[column](array)}


LINES = [line.split() for line in TABLE.strip().splitlines()]


def case_of(name: str, argument: str) -> str:
    """Some functions have a case an argument."""
    return (
        f"{name.split(':')[0]}:{argument}" if f"{name.split(':')[0]}:{argument}" in CASES else name
    )


def told(got: Any) -> str | None:
    """Why there is no number, or None."""
    return got.refused if isinstance(got, Estimate) else None


def fault(case: Case, argument: str, column: str, right: str) -> str | None:
    """What is wrong with the answer to a cell; None where it is right."""
    given = spoiled(case.arrays, argument, column)
    try:
        got = case.call(*given.values())
    except InputError as error:
        return None if right == "R" else f"refused: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if right == "R":
        return f"answered {got}"
    if right == "I":
        return None if told(got) and not np.isfinite(float(got)) else f"answered {got}"
    number, wanted = float(got), float(case.oracle(*given.values()))
    return (
        None
        if number == pytest.approx(wanted, rel=case.digits, abs=case.digits, nan_ok=True)
        else f"answered {number}, not {wanted}"
    )


@pytest.mark.parametrize(
    ("name", "argument", "cells"), [(name, argument, cells) for name, argument, *cells in LINES]
)
def test_each_cell(cases, name, argument, cells):
    case = cases[case_of(name, argument)]
    found = {
        column: words
        for column, right in zip(COLUMNS, cells, strict=True)
        if right != "-" and (words := fault(case, argument, column, right))
    }
    assert not found, "\n".join(f"{column}: {words}" for column, words in found.items())


def test_every_good_array_gives_the_right_number(cases):
    """Or else a cell that is refused says nothing."""
    for name, case in cases.items():
        assert float(case.call(*case.arrays.values())) == pytest.approx(
            float(case.oracle(*case.arrays.values())), rel=case.digits, abs=case.digits
        ), name


def test_every_public_function_has_its_rows():
    """Each of its arguments that is an array is in the table."""
    public = {
        name
        for name in dir(diagnostics)
        if inspect.isfunction(getattr(diagnostics, name)) and not name.startswith("_")
    }
    functions = {SHORT.get(name.split(":")[0], name.split(":")[0]) for name, *_ in LINES}
    assert functions == public - NO_ARRAYS | {"from_predictions", "evaluate", "predict"}


def test_what_is_wrong():
    """Class numbers or log-probabilities, of one network or of several; what is not a number is
    wrong.
    """
    labels = np.array([0, 1, 1, 0])
    log_p = np.log(
        np.array(
            [
                [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.5, 0.5]],
                [[0.4, 0.6], [0.4, 0.6], [0.4, 0.6], [0.4, 0.6]],
            ]
        )
    )
    log_p[1, 1, 0] = np.nan
    # of equals the first class is meant
    wrong = [[False, False, True, False], [True, True, False, True]]
    assert arrays.wrong(log_p, labels).tolist() == wrong
    assert arrays.wrong(log_p[1].astype(np.float16), labels).tolist() == wrong[1]
    assert arrays.wrong(np.array([0, arrays.NO_CLASS, 1, 1]), labels).tolist() == [
        False,
        True,
        False,
        True,
    ]
