"""`fastmlp.MLPClassifier` beside scikit-learn's, with the same arguments on the same six data sets: a table.

    python benchmarks/sklearn_drop_in.py [--threads N] [--seeds N] [--solver NAME] [--max-iter N] [--data NAME ...]

The score is the accuracy on a third of the samples that is held out, its mean and its standard deviation over the
seeds; the time that of `fit`, its median.  A seed is the same start for both, and another order of the samples.  The
libraries take turns, after a fit of each that is not counted.  Leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings

HIDDEN = (100,)


def digits():
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


def breast_cancer():
    from sklearn.datasets import load_breast_cancer
    from sklearn.preprocessing import StandardScaler

    x, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(x), y


def generated(n_samples, n_features, n_informative, n_classes):
    from sklearn.datasets import make_classification

    return make_classification(
        n_samples, n_features, n_informative=n_informative, n_redundant=0, n_classes=n_classes, random_state=0
    )


def bags_of_words(n_samples, n_features, words, n_classes=4):
    """A CSR matrix of counts: half of a sample's words are from those of its class."""
    import numpy as np
    from scipy.sparse import coo_array

    rng = np.random.default_rng(0)
    y = rng.integers(0, n_classes, n_samples)
    any_word, own_word = (rng.integers(0, n, (n_samples, words)) for n in (n_features, n_features // n_classes))
    column = np.where(rng.random(any_word.shape) < 0.5, any_word, own_word * n_classes + y[:, None])
    row = np.repeat(np.arange(n_samples), words)
    return coo_array((np.ones(row.size), (row, column.reshape(-1))), (n_samples, n_features)).tocsr(), y


DATA = {
    "digits": digits,
    "breast cancer": breast_cancer,
    "narrow": lambda: generated(3000, 12, 8, 2),
    "wide": lambda: generated(1500, 400, 30, 5),
    "words": lambda: bags_of_words(2000, 5000, 12),
    "many words": lambda: bags_of_words(1000, 20000, 30),
}


def set_threads(threads: int) -> None:
    """Before the libraries are imported, which read it then."""
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[variable] = str(threads)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def compare(name: str, seeds: int, threads: int, arguments: dict):
    """The shape of the data; and for each library, fastmlp first, the scores and the seconds of every seed."""
    from sklearn import neural_network
    from sklearn.model_selection import train_test_split

    import fastmlp

    x, y = DATA[name]()
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=1 / 3, random_state=0, stratify=y)
    ours, theirs = fastmlp.MLPClassifier(threads=threads, **arguments), neural_network.MLPClassifier(**arguments)
    scores, seconds = ([], []), ([], [])
    for estimator in (ours, theirs):  # compiles
        estimator.set_params(max_iter=1).fit(x_train, y_train)
        estimator.set_params(max_iter=arguments["max_iter"])
    for seed in range(seeds):
        for i, estimator in enumerate((ours, theirs)):
            estimator.set_params(random_state=seed)
            start = time.perf_counter()
            estimator.fit(x_train, y_train)
            seconds[i].append(time.perf_counter() - start)
            scores[i].append(100 * estimator.score(x_test, y_test))
    return x_train.shape, scores, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="cores, and threads of each library (default: 1)")
    parser.add_argument("--seeds", type=int, default=10, help="fits of each library (default: 10)")
    parser.add_argument("--solver", choices=("adam", "sgd"), default="adam")
    parser.add_argument("--learning-rate", type=float, default=0.001)
    parser.add_argument("--max-iter", type=int, default=200, help="epochs, at most (default: 200)")
    parser.add_argument("--hidden", type=int, nargs="+", default=list(HIDDEN), help="widths (default: 100)")
    parser.add_argument("--data", choices=list(DATA), nargs="+", default=list(DATA), help="(default: all)")
    options = parser.parse_args()
    set_threads(options.threads)

    import numpy as np
    import sklearn

    arguments = {
        "hidden_layer_sizes": tuple(options.hidden), "solver": options.solver, "max_iter": options.max_iter,
        "learning_rate_init": options.learning_rate,
    }  # fmt: skip
    warnings.simplefilter("ignore", sklearn.exceptions.ConvergenceWarning)
    print(f"fastmlp and scikit-learn {sklearn.__version__}, {options.threads} thread(s), {options.seeds} seeds")
    print(f"{'data':14} {'trained on':>12} {'fastmlp':>25} {'scikit-learn':>25} {'times fastmlp':>14}")
    for name in options.data:
        shape, scores, seconds = compare(name, options.seeds, options.threads, arguments)
        cells = [
            f"{np.mean(score):6.2f} +- {np.std(score):.2f} % {np.median(second):7.3f} s"
            for score, second in zip(scores, seconds)
        ]
        ratio = np.median(seconds[1]) / np.median(seconds[0])
        print(f"{name:14} {' x '.join(map(str, shape)):>12} {cells[0]:>25} {cells[1]:>25} {ratio:14.1f}", flush=True)


if __name__ == "__main__":
    main()
