"""Three tables as people have them, whose truth is known: customers, house prices and patients.

    python -m experiments.benchmarks.ordinary_tables FOLDER [--seed 0]
        writes customers.csv, houses.csv and patients.csv

Labels depend on what a row shows, and a gap shows that there is a gap; so no method can err less
than the truth says.
"""

import argparse
import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

CHURN_SCALE = 0.965  # of the log-odds of customers, which makes their Bayes error 27%
RELAPSE_AT = 1.9  # the latent value from which patients relapse: about one row in five
PATIENT_EFFECT, ROW_EFFECT = 1.3, 0.3  # standard deviations of what no column shows
PRICE_NOISE = 30_000.0  # standard deviation of prices around what the columns show
ROWS_A_PATIENT = 300 / 92


class OrdinaryTable(NamedTuple):
    """A table and its truth.

    Attributes:
        values: what each column holds: numbers, datetime64[D] or text; a gap is NaN or "".
        cells: the same as the file writes it.
        label: name of the column to learn.
        truth: (rows,) the probability of `positive`, or the expected value of the label.
        positive: the class whose probability is given; None where the label is a number.
        groups: name of the column of which several rows belong together, if there is one.
    """

    values: dict[str, np.ndarray]
    cells: dict[str, list[str]]
    label: str
    truth: np.ndarray
    positive: str | None = None
    groups: str | None = None

    @property
    def least_error(self) -> float:
        """The smallest error that any method can have: the share of wrong classes, or the mean
        squared error.
        """
        if self.positive is None:
            return PRICE_NOISE**2
        return float(np.minimum(self.truth, 1 - self.truth).mean())

    def write(self, path: Path) -> Path:
        """Write the table as a CSV file."""
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self.cells)
            writer.writerows(zip(*self.cells.values(), strict=True))
        return path


def customers(seed: int, rows: int = 2000) -> OrdinaryTable:
    """Customers, some of whom leave: numbers with gaps, a date, categories, one of them rare, and
    an identifier. The Bayes error is 27%.
    """
    rng = np.random.default_rng([seed, 1])
    numbers = rng.permutation(9 * rows)[:rows] + 100_000
    signup = np.datetime64("2019-01-01") + rng.integers(0, 5 * 365, rows)
    age = _gaps(rng, np.clip(rng.normal(44, 14, rows), 18, 90).round(), 0.06)
    income = _gaps(rng, (rng.lognormal(10.6, 0.45, rows) / 100).round() * 100, 0.08)
    plan = rng.choice(["basic", "plus", "premium"], rows, p=[0.5, 0.3, 0.2])
    regions = ["north", "south", "east", "west", "center", "islands"]
    region = rng.choice(regions, rows, p=[0.25, 0.25, 0.2, 0.2, 0.097, 0.003])
    payment = rng.choice(["card", "transfer", "check", ""], rows, p=[0.55, 0.3, 0.1, 0.05])
    calls = rng.poisson(1.5, rows).astype(float)
    usage = rng.gamma(4.0, 5.0, rows).round(1)

    tenure = (np.datetime64("2024-01-01") - signup).astype(float) / 365
    odds = 0.7 * (calls - 1.5) - 0.8 * np.log(tenure + 0.2) - 0.05 * (usage - 20)
    odds += np.where(np.isnan(age), 0.5, -0.02 * (np.nan_to_num(age) - 44))
    odds += np.where(np.isnan(income), 0.8, -0.6 * (np.log(np.nan_to_num(income, nan=1)) - 10.6))
    odds += 0.6 * (payment == "check") + 0.9 * (payment == "") - 0.3 * (region == "west")
    odds += np.where(plan == "basic", 0.03 * (usage - 20), np.where(plan == "premium", -0.9, 0.0))
    chance = 1 / (1 + np.exp(-CHURN_SCALE * odds))
    churned = np.where(rng.random(rows) < chance, "yes", "no")
    values = {
        "customer_id": numbers,
        "signup": signup,
        "age": age,
        "income": income,
        "plan": plan,
        "region": region,
        "payment": payment,
        "calls": calls,
        "usage": usage,
        "churned": churned,
    }
    return OrdinaryTable(values, _cells(values), "churned", chance, "yes")


def houses(seed: int, rows: int = 1200) -> OrdinaryTable:
    """Prices of houses, with the index that pandas writes, months in words, units, and gaps."""
    rng = np.random.default_rng([seed, 2])
    month = np.datetime64("2018-01") + rng.integers(0, 72, rows)
    area = np.clip(rng.lognormal(4.75, 0.35, rows), 35, 350).round()
    rooms = np.clip((area / 28 + rng.normal(0, 0.8, rows)).round(), 1, 9)
    built = _gaps(rng, (2022 - 110 * rng.beta(1.2, 2.0, rows)).round(), 0.05)
    energy = np.where(rng.random(rows) < 0.07, "", rng.choice(list("ABCDEFG"), rows))
    district = rng.choice(["center", "hills", "harbor", "station", "university", "park"], rows)
    garage = rng.choice(["yes", "no"], rows, p=[0.4, 0.6])
    distance = _gaps(rng, rng.gamma(2.0, 2.0, rows).round(1), 0.04)
    area = _gaps(rng, area, 0.03)

    per_district = {"center": 70, "hills": 90, "harbor": 40, "station": -30, "park": 20}
    price = 100_000 + 1650 * np.nan_to_num(area, nan=125.0) + 6000 * rooms
    price += 1000 * np.array([per_district.get(str(each), 0) for each in district])
    price += 900 * (np.nan_to_num(built, nan=1960) - 1970) * (1 + 0.3 * (garage == "yes"))
    price -= 6000 * np.nan_to_num(distance, nan=6.0)
    price += 1200 * (month - np.datetime64("2018-01")).astype(float)
    price += np.array(
        [{"": -20_000}.get(str(each), 5000 * (68 - ord(each or "D"))) for each in energy]
    )
    prices = (price + rng.normal(0, PRICE_NOISE, rows)).round(-2)
    values = {
        "": np.arange(rows),
        "sold": month.astype("datetime64[D]"),
        "area": area,
        "rooms": rooms,
        "built": built,
        "energy": energy,
        "district": district,
        "garage": garage,
        "distance": distance,
        "price": prices,
    }
    cells = _cells(values, {"area": " m2", "distance": " km"})
    cells["sold"] = [f"{each.astype(object):%b %Y}" for each in month]
    return OrdinaryTable(values, cells, "price", price)


def patients(seed: int, patients: int = 92) -> OrdinaryTable:
    """Visits of patients, about a fifth before a relapse. Much of the risk belongs to the patient
    and stands in no column, and laboratory values tell who it is: whoever knows the patient's other
    visits errs less than anybody can with a new patient.
    """
    rng = np.random.default_rng([seed, 3])
    rows = round(patients * ROWS_A_PATIENT)
    visits = 1 + rng.multinomial(rows - patients, np.full(patients, 1 / patients))
    who = np.repeat(np.arange(patients), visits)

    def measured(mean: float, spread: float, change: float) -> np.ndarray:
        """Values of which each patient has one of their own, with a change at each visit."""
        return (mean + spread * rng.standard_normal(patients))[who] + change * rng.standard_normal(
            rows
        )

    first = (np.datetime64("2021-01-01") + rng.integers(0, 600, patients))[who]
    visit = first + rng.integers(0, 500, rows)
    age = np.clip(rng.normal(58, 13, patients).round(), 20, 90)[who]
    sex = rng.choice(["F", "M"], patients)[who]
    weight = measured(78, 12, 0.8).round(1)
    pressure = measured(130, 14, 3).round()
    glucose = measured(105, 18, 3).round()
    protein = _gaps(rng, measured(4.0, 1.0, 0.15).round(2), 0.06)
    platelets = _gaps(rng, measured(250, 50, 6).round(), 0.04)

    latent = 1.4 * (glucose - 105) / 18 + 0.7 * (pressure - 130) / 14 + 0.3 * (age - 58) / 13
    latent += np.where(np.isnan(protein), 0.3, 0.8 * (np.nan_to_num(protein) - 4.0))
    chance = _normal((latent - RELAPSE_AT) / np.hypot(PATIENT_EFFECT, ROW_EFFECT))
    own = PATIENT_EFFECT * rng.standard_normal(patients)[who] + ROW_EFFECT * rng.standard_normal(
        rows
    )
    outcome = np.where(latent + own > RELAPSE_AT, "relapse", "stable")
    names = np.array([f"P-{number:05d}" for number in rng.permutation(10 * patients)[:patients]])
    order = rng.permutation(rows)
    values = {
        "patient_id": names[who],
        "visit": visit,
        "age": age,
        "sex": sex,
        "weight": weight,
        "pressure": pressure,
        "glucose": glucose,
        "protein": protein,
        "platelets": platelets,
        "outcome": outcome,
    }
    values = {name: column[order] for name, column in values.items()}
    return OrdinaryTable(values, _cells(values), "outcome", chance[order], "relapse", "patient_id")


TABLES: dict[str, Callable[[int], OrdinaryTable]] = {
    "customers": customers,
    "houses": houses,
    "patients": patients,
}


def _gaps(rng: np.random.Generator, values: np.ndarray, share: float) -> np.ndarray:
    return np.where(rng.random(len(values)) < share, np.nan, values)


def _normal(z: np.ndarray) -> np.ndarray:
    from scipy.special import ndtr

    return ndtr(z)


def _cells(
    values: Mapping[str, np.ndarray], units: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    """Columns as text: whole numbers without a decimal point, dates as 2024-03-15."""
    units = units or {}
    return {
        name: [
            ("" if each != each else f"{each:.10g}{units.get(name, '')}")
            if isinstance(each, float)
            else str(each)
            for each in column.tolist()
        ]
        for name, column in values.items()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, make in TABLES.items():
        print(make(options.seed).write(options.folder / f"{name}.csv"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
