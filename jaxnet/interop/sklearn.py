"""Scikit-learn estimators, for pipelines, cross-validation and searches.

The estimators only translate: data, checked by scikit-learn, to Splits, and parameters to a Model
and a Recipe. `fit` and `predict` do the rest. This module is imported when an estimator is first
used, since scikit-learn need not be installed.
"""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import fields, replace
from numbers import Integral
from typing import Any, get_args, no_type_check

import jax
import numpy as np
from jaxtyping import Float

from jaxnet import arrays
from jaxnet.core.recipe import Recipe, check_optimizer_pickles
from jaxnet.data import Augmentation, Dataset, Splits, Standardization, checks, tokens
from jaxnet.data.filling import Fill, learned, stood_in
from jaxnet.data.splitting import notes_on, partition, take
from jaxnet.data.tables.frames import numbers_of_frame
from jaxnet.data.targets import MULTI_LABEL
from jaxnet.engine.fit import fit
from jaxnet.engine.prediction import predict
from jaxnet.errors import InputError, check_kind, check_known, current_names, renamed
from jaxnet.models.builtin import mlp
from jaxnet.models.model import Model
from jaxnet.typing import Frame

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils import check_random_state, column_or_1d
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data  # pyrefly: ignore[missing-module-attribute]
except ImportError:
    raise InputError(
        "JaxnetClassifier and JaxnetRegressor need the package scikit-learn, which is not "
        "installed: pip install scikit-learn"
    ) from None


# parameters by former names
FORMER_PARAMETERS = {"normalisation": "normalization", "second_momentum": "b2"}
REPEATS = 10  # up to this mean, whole weights repeat examples


@renamed(**FORMER_PARAMETERS)
class _Network(BaseEstimator):
    """The common part of both estimators; scikit-learn checks X, y and weights."""

    @no_type_check  # any value is stored unchanged; fit refuses invalid ones
    def __init__(
        self,
        hidden: Sequence[int] = (128, 64),
        *,
        activation: str = "relu",
        normalization: str | None = None,
        model: Model | None = None,
        shape: Sequence[int] | None = None,
        optimizer: Any = Recipe.optimizer,
        schedule: str | None = Recipe.schedule,
        epochs: int | None = Recipe.epochs,
        batch_size: int = Recipe.batch_size,
        patience: int | None = None,
        precision: str = Recipe.precision,
        learning_rate: float | None = Recipe.learning_rate,
        momentum: float | None = None,
        b2: float | None = None,
        weight_decay: float | None = None,
        l1: float | None = None,
        dropout: float | None = None,
        label_smoothing: float | None = None,
        clip: float | None = None,
        augmentation: Augmentation | None = None,
        validation_fraction: float = 0.0,
        random_state: int | np.random.RandomState | None = None,
        fill: str | None = None,
        inputs: str = "numbers",
        pad: int | None = None,
        task: str | None = None,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.normalization = normalization
        self.model = model
        self.shape = shape
        self.optimizer = optimizer
        self.schedule = schedule
        self.epochs = epochs
        self.batch_size = batch_size
        self.patience = patience
        self.precision = precision
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.b2 = b2
        self.weight_decay = weight_decay
        self.l1 = l1
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.clip = clip
        self.augmentation = augmentation
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.fill = fill
        self.inputs = inputs
        self.pad = pad
        self.task = task

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # pyrefly: ignore[missing-attribute]
        tags.input_tags.allow_nan = self.fill is not None
        return tags

    def set_params(self, **params: Any) -> Any:
        """Set parameters, as scikit-learn does, also by their former names."""
        return super().set_params(**current_names(params, FORMER_PARAMETERS))

    def __getstate__(self) -> dict[str, Any]:
        check_optimizer_pickles(self.optimizer)
        return super().__getstate__()

    def _train(
        self,
        X: np.ndarray,
        y: np.ndarray,
        weights: Float[np.ndarray, " examples"] | None,
        classes: tuple[str, ...] | None,
        task: str | None = None,
    ) -> None:
        if self.shape is not None:
            check_kind(
                "shape", self.shape, tuple | list, "the shape of an example, such as (28, 28)"
            )
        fills = None
        if tokens.check(self.inputs, self.pad) and self.fill is not None:
            raise InputError("fill is for numbers, but inputs are tokens; leave fill out")
        if self.fill is not None:
            check_known("fill", self.fill, get_args(Fill))
            fills = learned(X, self.fill, weights)
        X = stood_in(X, fills)
        data = checks.in_storage_types(
            checks.dataset(
                X if self.shape is None else _reshaped(X, tuple(self.shape)),
                y,
                classes=classes,
                kind=self.inputs,
                pad=self.pad,
                task=task,
            )
        )
        data = replace(data, schema=replace(data.schema, fills=fills))
        for note in notes_on(data):
            warnings.warn(note, stacklevel=3)
        order, seed = canonical_order(data), _seed(self.random_state)
        data, weights = take(data, order), None if weights is None else weights[order]
        checks.fractions(self.validation_fraction, None, seed)
        held_out, rows = partition(data, (self.validation_fraction,), seed)
        rows, weights = _repeat_by_weight(rows, weights)
        train, validation = take(data, rows), take(data, held_out)
        checks.parts(train, validation, train)  # scikit-learn holds the test set out
        splits = Splits(
            train, validation, take(data, slice(0, 0)), Standardization.of(train, weights)
        )
        recipe = Recipe(**{field.name: getattr(self, field.name) for field in fields(Recipe)})
        self.model_ = self.model
        if self.model is None:
            self.model_ = mlp(
                self.hidden, activation=self.activation, normalization=self.normalization
            )
        run = fit(self.model_, splits, recipe, jax.random.key(seed), weights=weights)
        self.run_ = jax.tree.map(np.asarray, run)  # on no device, so that any process can load it
        self.history_ = self.run_.history
        self.n_iter_ = int(run.epochs)
        self.loss_curve_ = self.history_.train_loss[: self.n_iter_]
        if run.diverged:
            warnings.warn(run.status, ConvergenceWarning, stacklevel=3)

    def _outputs(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "run_")
        _no_gaps(X=X)
        X = _checked(self, X, reset=False)
        return np.asarray(predict(self.model_, self.run_, X.reshape(len(X), *self.run_.shape)))


class JaxnetClassifier(ClassifierMixin, _Network):
    """A network that classifies, as a scikit-learn estimator.

    Inputs, (examples, features), are standardized within, unless they are tokens; outputs are
    float32. Pickle and joblib store an estimator if the functions and classes of its model and
    optimizer are defined at the top of a module.

    Args:
        hidden: widths of the hidden layers of the MLP; with activation and normalization as in
            `jaxnet.mlp`.
        model: any other network in its place.
        shape: of an example, such as (28, 28) for images whose pixels are the features. By default
            the network takes the features as they are.
        optimizer: this and all others up to augmentation are those of `jaxnet.Recipe`, with the
            same defaults.
        validation_fraction: share of the examples held out for patience, without weights.
        random_state: an int is the seed of the key; from a RandomState or None one is drawn.
        fill: what stands in for NaN in X: the "median" or "mean" of each feature in what `fit`
            gets, weighted by sample_weight. By default NaN is refused.
        inputs: "numbers", or "tokens" for whole numbers from 0 that stay integers; these need a
            model with an embedding, such as `jaxnet.mlp(vocabulary=9)`.
        pad: the id that fills up sequences of tokens; X may then be a list of sequences of
            different lengths.
        task: "multi-label" for y (examples, labels) of 0 and 1, independent yes/no labels.

    Attributes:
        classes_, n_features_in_, feature_names_in_: as in scikit-learn.
        run_: the Run, and model_ its model, as `jaxnet.evaluate` takes them.
        history_: arrays (epochs,) of what happened in each epoch.
        n_iter_: how many epochs were trained.
        loss_curve_: (n_iter_,) the training loss of each epoch.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "JaxnetClassifier":
        """Train on labeled examples; the network does not depend on their order.

        Args:
            X: (examples, features).
            y: (examples,) labels; (examples, labels) of 0 and 1 for the task "multi-label".
            sample_weight: (examples,) how often each counts: 0 as if it were not there, 2 as if it
                were there twice. Whole weights repeat examples, unless by more than 10 on average;
                others are factors of the loss, of which only the ratios matter.

        Returns:
            The estimator. A training that diverged warns with ConvergenceWarning.

        Raises:
            ValueError: for what cannot be used.
        """
        _no_gaps(X=X, y=y, sample_weight=sample_weight)
        _check_task(self, ("classification", MULTI_LABEL))
        if self.task == MULTI_LABEL:
            X, y = _checked(self, X, y, multi_output=True)
            X, y, weights = _with_positive_weight(X, y, sample_weight)
            self._train(X, y, weights, None, MULTI_LABEL)
            self.classes_ = [np.array([0, 1])] * y.shape[1]
            return self
        X, y = _checked(self, X, y)
        check_classification_targets(y)
        X, y, weights = _with_positive_weight(X, y, sample_weight)
        self.classes_, labels = np.unique(y, return_inverse=True)
        self._train(X, labels, weights, tuple(map(str, self.classes_)))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each example.

        Args:
            X: (examples, features).

        Returns:
            (examples,) classes; (examples, labels) of 0 and 1 for the task "multi-label".

        Raises:
            InputError: where the network diverged, and predicts no class.
        """
        outputs = self._outputs(X)
        if self.run_.schema.multi_label:
            return (outputs > np.log(0.5)).astype(int)
        classes = arrays.chosen(outputs)
        if (lost := np.flatnonzero(classes == arrays.NO_CLASS)).size:
            raise InputError(
                f"the network predicts no class for {len(lost)} of {len(classes)} examples, the "
                f"first of them {lost[0]}: "
                "its outputs are not numbers; take a network whose outputs are finite. This one "
                f"{self.run_.status}"
            )
        return self.classes_[classes]

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class.

        Args:
            X: (examples, features).

        Returns:
            (examples, classes), in the order of classes_; (examples, labels) of yes for the task
            "multi-label".
        """
        return np.exp(self._outputs(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The log-probability of each class, as the functions of `jaxnet.diagnostics` take it.

        Args:
            X: (examples, features).

        Returns:
            (examples, classes), in the order of classes_; (examples, labels) of yes for the task
            "multi-label".
        """
        return self._outputs(X)


class JaxnetRegressor(RegressorMixin, _Network):
    """A network that predicts one or several values for each example, as a scikit-learn estimator.

    The parameters are those of JaxnetClassifier; label_smoothing is for classes alone. Values are
    standardized within, so that learning_rate means the same for all units.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "JaxnetRegressor":
        """Train on examples with values; the network does not depend on their order.

        Args:
            X: (examples, features).
            y: (examples,) values, or (examples, columns) several of each.
            sample_weight: as in JaxnetClassifier.

        Returns:
            The estimator. A training that diverged warns with ConvergenceWarning.

        Raises:
            ValueError: for what cannot be used.
        """
        _no_gaps(X=X, y=y, sample_weight=sample_weight)
        _check_task(self, ("regression",))
        X, y = _checked(self, X, y, y_numeric=True, multi_output=True)
        y = y if y.ndim == 2 and y.shape[1] > 1 else column_or_1d(y, warn=True)
        X, y, weights = _with_positive_weight(X, y.astype(np.float64), sample_weight)
        self._train(X, y, weights, None, "regression")
        return self

    def predict(self, X: Any) -> np.ndarray:
        """A value for each example.

        Args:
            X: (examples, features).

        Returns:
            (examples,) values; (examples, columns), as float64, which scikit-learn asks for there.
        """
        outputs = self._outputs(X)
        return outputs if outputs.ndim == 1 else outputs.astype(np.float64)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _checked(estimator: Any, X: Any, *y: Any, **options: Any) -> Any:
    """Data as scikit-learn checks them, and InputError for a data frame whose columns are no
    numbers.
    """
    if estimator.fill is not None:
        options["ensure_all_finite"] = "allow-nan"  # infinity is still refused
    if estimator.pad is not None and not isinstance(X, Frame):
        length = None if options.get("reset", True) else estimator.n_features_in_
        X = tokens.padded("X", X, estimator.pad, length)
    try:
        return validate_data(estimator, X, *y, **options)
    except (ValueError, TypeError):
        if isinstance(X, Frame):
            numbers_of_frame("X", X)
        raise


def _check_task(estimator: Any, known: Sequence[str]) -> None:
    """Raise InputError for a task that an estimator does not have; None is its ordinary one."""
    if estimator.task is not None:
        check_known("task", estimator.task, known)


def _no_gaps(**given: Any) -> None:
    """Raise InputError for masked values, which scikit-learn's checks ignore."""
    for name, array in given.items():
        arrays.no_gaps(name, array)


def _with_positive_weight(
    X: np.ndarray, y: np.ndarray, sample_weight: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The examples with a weight above 0, and their weights; None if no weights were given."""
    if sample_weight is None:
        return X, y, None
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    return X[weights > 0], y[weights > 0], weights[weights > 0]


def canonical_order(data: Dataset) -> np.ndarray:
    """Sort examples into an order that depends on them alone, so that the network does too: sums
    over the rows depend on their order by rounding.

    Args:
        data: the examples, in any order.

    Returns:
        (examples,) row numbers.
    """
    rows = zip(np.ascontiguousarray(data.x), np.asarray(data.y), strict=True)
    return np.argsort(
        [hashlib.blake2b(x.tobytes() + y.tobytes(), digest_size=16).hexdigest() for x, y in rows],
        kind="stable",
    )


def _repeat_by_weight(
    rows: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """(rows, weights of mean 1); if the weights are whole and not large, (rows repeated by weight,
    None).
    """
    if weights is None:
        return rows, None
    weights = weights[rows]
    if np.all(weights == np.round(weights)) and weights.mean() <= REPEATS:
        return np.repeat(rows, weights.astype(int)), None
    return rows, weights / weights.mean()


def _seed(random_state: Any) -> int:
    drawn_from = check_random_state(random_state)
    return (
        int(random_state) if isinstance(random_state, Integral) else int(drawn_from.randint(2**31))
    )


def _reshaped(X: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if np.prod(shape) != X.shape[1]:
        raise InputError(
            f"shape is {shape}, of {np.prod(shape)} numbers, but an example has {X.shape[1]}; "
            "give a shape with as many"
        )
    return X.reshape(len(X), *shape)
