"""Which training examples support and oppose a prediction, by the networks of a census."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from jaxnet import display
from jaxnet.data.dataset import Dataset, error_unit
from jaxnet.errors import InputError, check_whole, shown
from jaxnet.population.predictions import member_predictions
from jaxnet.stats.bias_variance import MIN_LOG_PROBABILITY
from jaxnet.stats.datamodels import MOSTLY_NOISE, agreement, datamodels

if TYPE_CHECKING:
    from jaxnet.studies.census_result import Census

Part = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Why:
    """The training examples that support and oppose a prediction.

    Rows are those of the pool: the training set comes first, and the validation set after it where
    it takes part.

    Attributes:
        part: the part of the data that the example is from.
        row: its row there.
        label: its label, in words; the value of a regression.
        prediction: what most networks that were not trained on it predict.
        supporting: rows of the examples that raise the log-odds of its label most, or lower its
            squared error, the strongest first.
        opposing: rows of those that lower them most, the strongest first.
        effects: (pool,) how much each example raises the log-odds of the label, or lowers the
            squared error, in variances of y; shrunk as `Census.why` says.
        agreement: how well the effects would agree with those of as many other networks: the
            correlation of two halves of the networks, stepped up.
        explained: the share of the variance between networks that the effects predict for networks
            that they were not fitted to.
        networks: the number of networks that were not trained on the example.
        labels: (pool,) the labels of the pool in words.
    """

    part: str
    row: int
    label: str
    prediction: str
    supporting: Int[np.ndarray, " k"]
    opposing: Int[np.ndarray, " k"]
    effects: Float[np.ndarray, " pool"] = field(repr=False, compare=False)
    agreement: float
    explained: float
    networks: int
    labels: np.ndarray = field(repr=False, compare=False)

    __repr__ = display.text

    @property
    def mostly_noise(self) -> bool:
        """Whether other networks would agree so little that the ranking is mostly noise."""
        return not self.agreement >= MOSTLY_NOISE

    def __str__(self) -> str:
        lines = [
            f"{self.part} example {self.row}: label {self.label}, predicted {self.prediction} by "
            f"{self.networks:,} networks that were not trained on it"
        ]
        for name, rows in (("support", self.supporting), ("oppose", self.opposing)):
            lines.append(f"training examples that {name} the label, and their effects:")
            lines += [f"  {row:>8}  {self.labels[row]}  {self.effects[row]:+.4f}" for row in rows]
        noise = ", so this ranking is mostly noise; take a census of more networks"
        lines.append(
            f"as many other networks would agree with a correlation of {self.agreement:.2f}"
            + noise * self.mostly_noise
        )
        return "\n".join(lines)


def why(census: "Census", i: int, part: str, k: int) -> Why:
    """Find the training examples that support and oppose a prediction, as `Census.why` says.

    Raises:
        InputError: for a row or part that is not there, or a k that is not a number of them.
    """
    train, classes = census.splits.train, census.splits.classes
    check_whole("k", k, most=len(train))
    given, row = _example(census, i, part)
    y = np.asarray(given.y)[row]
    if given is train:
        networks = ~census.halves[:, row]
        outputs = np.asarray(census.predictions[networks, row], np.float64)
    else:
        networks = np.ones(census.members, bool)
        outputs = _predicted(census, np.asarray(given.x)[row : row + 1])
    halves, pairs = census.halves[networks], census.pair_of[networks]
    own = census.own_outputs[networks]
    if classes is None:
        output, label, names = -((outputs - y) ** 2) / error_unit(train), f"{y:.4g}", None
        prediction = f"{outputs.mean():.4g}"
    else:
        output, label, names = _log_odds(outputs, y), classes[y], np.asarray(classes)
        prediction = classes[int(np.bincount(outputs.argmax(1)).argmax())]
    model = datamodels(halves, output[:, None], pairs, own)
    effects = model.coefficients[:, 0]
    order = np.argsort(-effects, kind="stable")
    targets = np.asarray(train.y)
    return Why(
        part=part,
        row=int(i),
        label=label,
        prediction=prediction,
        supporting=order[:k],
        opposing=order[::-1][:k],
        effects=effects,
        agreement=agreement(halves, output, pairs, own, model.penalty),
        explained=model.explained,
        networks=int(networks.sum()),
        labels=targets if names is None else names[targets],
    )


def _example(census: "Census", i: int, part: str) -> tuple[Dataset, int]:
    """The data set that holds an example, which is the pool where that has it, and its row."""
    if part not in get_args(Part):
        raise InputError(f"part is {shown(part)}; give train, validation or test")
    pooled = len(census.splits.train) - census.training
    sizes = {
        "train": census.training,
        "validation": pooled or len(census.splits.validation),
        "test": len(census.splits.test),
    }
    if not sizes[part]:
        raise InputError(f"the data have no {part} set; give another part")
    check_whole("i", i, least=0, most=sizes[part] - 1)
    if part == "train":
        return census.splits.train, int(i)
    if part == "validation" and pooled:
        return census.splits.train, census.training + int(i)
    return getattr(census.splits, part), int(i)


def _predicted(census: "Census", x: np.ndarray) -> Float[np.ndarray, " networks *classes"]:
    """What the networks on halves predict for one example."""
    found = dict[int, np.ndarray]()
    for members, values in member_predictions([census.trainer.model], census.population, x):
        found |= {int(member): value[0] for member, value in zip(members, values, strict=True)}
    sound = np.flatnonzero(~census.population.diverged[:-1])
    return np.stack([np.asarray(found[int(member)], np.float64) for member in sound])


def own_outputs(census: "Census") -> Float[np.ndarray, "networks pool"]:
    """What each network outputs for each example of the pool: the log-odds of its label, or a
    value.
    """
    if census.regression:
        return np.asarray(census.predictions, np.float32)
    y = np.asarray(census.splits.train.y)
    found = np.empty(census.halves.shape, np.float32)
    for network, own in enumerate(census.predictions):
        found[network] = _log_odds(np.asarray(own, np.float64), y)
    return found


def _log_odds(
    log_probabilities: Float[np.ndarray, "rows classes"], label: np.ndarray | np.integer
) -> Float[np.ndarray, " rows"]:
    """The log-odds of a class in each row."""
    rows = np.arange(len(log_probabilities))
    log_probabilities = np.maximum(log_probabilities, MIN_LOG_PROBABILITY)  # float16 has -inf
    others = log_probabilities.copy()
    others[rows, label] = -np.inf
    return log_probabilities[rows, label] - np.logaddexp.reduce(others, axis=1)
