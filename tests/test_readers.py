"""Readers of data sets: every format holds the same samples, and errors name what is at fault."""

import gzip
import sys

import numpy as np
import pytest

from fastmlp.datasets import read, tables

X = np.random.default_rng(0).integers(0, 256, (12, 6), np.uint8)
Y = np.arange(12, dtype=np.uint8) % 3
NAMES = list("abcdef")


def idx(array):
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return head + array.astype(np.uint8).tobytes()


@pytest.fixture(params=["pandas", "polars"])
def package(request, monkeypatch):
    """Both packages that read tables, one after the other."""
    pytest.importorskip(request.param)
    monkeypatch.setattr(tables, "_package", lambda: request.param)
    return request.param


# IDX


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("style", ["-idx{}-ubyte", ".idx{}-ubyte"])
def test_a_folder_like_mnists(tmp_path, compressed, style):
    for part, samples in (("train", slice(0, 8)), ("t10k", slice(8, 12))):
        for role, array in (("images", X[samples].reshape(-1, 2, 3)), ("labels", Y[samples])):
            name = f"{part}-{role}{style.format(array.ndim)}"
            data = idx(array)
            (tmp_path / (name + ".gz" * compressed)).write_bytes(gzip.compress(data) if compressed else data)
    found = read(tmp_path)
    np.testing.assert_array_equal(found.x, X[:8])
    np.testing.assert_array_equal(found.y, Y[:8])
    np.testing.assert_array_equal(found.test[0], X[8:])
    np.testing.assert_array_equal(found.test[1], Y[8:])
    assert (found.kind, found.image_shape, found.validation) == ("idx", (2, 3), None)
    # one of the files alone finds its labels, too
    name = next(file for file in tmp_path.iterdir() if file.name.startswith("t10k-images"))
    np.testing.assert_array_equal(read(name).y, Y[8:])


def test_the_same_idx_file_plain_and_compressed_counts_once(tmp_path):
    for name, array in (("train-images-idx3-ubyte", X.reshape(-1, 2, 3)), ("train-labels-idx1-ubyte", Y)):
        (tmp_path / name).write_bytes(idx(array))
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
    np.testing.assert_array_equal(read(tmp_path).x, X)


def test_labels_of_an_idx_file_are_named_or_found(tmp_path):
    (tmp_path / "a-images-idx3-ubyte").write_bytes(idx(X.reshape(-1, 2, 3)))
    (tmp_path / "answers").write_bytes(idx(Y))
    with pytest.raises(ValueError, match=r"target must be the file of the labels .* there is no .*a-labels-idx1-ubyte"):
        read(tmp_path / "a-images-idx3-ubyte")
    np.testing.assert_array_equal(read(tmp_path / "a-images-idx3-ubyte", tmp_path / "answers").y, Y)
    assert read(tmp_path / "a-images-idx3-ubyte", labelled=False).y is None
    with pytest.raises(FileNotFoundError, match=r"there is no .*nothing"):
        read(tmp_path / "a-images-idx3-ubyte", tmp_path / "nothing")
    (tmp_path / "answers").write_bytes(idx(Y[:-1]))
    with pytest.raises(ValueError, match=r"answers must have a label for each of 12 samples, got 11"):
        read(tmp_path / "a-images-idx3-ubyte", tmp_path / "answers")


def test_a_folder_of_idx_files_without_labels(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(X.reshape(-1, 2, 3)))
    with pytest.raises(ValueError, match=r"holds no labels for train-images-idx3-ubyte, such as .*train-labels-idx1"):
        read(tmp_path)


# .npz and .npy


@pytest.mark.parametrize(
    "names", [("x", "y"), ("X", "Y"), ("x_train", "y_train"), ("train_images", "train_labels"), ("data", "target")]
)
def test_arrays_of_an_npz_file_are_found_by_name(tmp_path, names):
    np.savez(tmp_path / "d.npz", **dict(zip(names, (X, Y))), unrelated=np.arange(3))
    found = read(tmp_path / "d.npz")
    np.testing.assert_array_equal(found.x, X)
    np.testing.assert_array_equal(found.y, Y)
    assert (found.kind, found.test, found.validation, found.image_shape) == ("npz", None, None, None)


def test_an_npz_file_of_three_parts(tmp_path):
    images = X.reshape(-1, 2, 3)
    np.savez(
        tmp_path / "d.npz", train_images=images[:6], train_labels=Y[:6, None], val_images=images[6:9],
        val_labels=Y[6:9], test_images=images[9:], test_labels=Y[9:],
    )  # fmt: skip
    found = read(tmp_path / "d.npz")
    assert found.image_shape == (2, 3)
    for got, want in (
        (found.x, X[:6]), (found.y, Y[:6]), (found.validation[0], X[6:9]), (found.validation[1], Y[6:9]),
        (found.test[0], X[9:]), (found.test[1], Y[9:]),
    ):  # fmt: skip
        np.testing.assert_array_equal(got, want)


def test_errors_of_npz_files_list_what_they_hold(tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, first=X, second=Y)
    with pytest.raises(ValueError, match=r"d\.npz must hold x and y.*'first' \(12, 6\), 'second' \(12,\)"):
        read(path)
    np.savez(path, x=X, second=Y)
    with pytest.raises(ValueError, match="must hold x and y"):
        read(path)
    assert read(path, labelled=False).y is None
    np.testing.assert_array_equal(read(path, "second").y, Y)
    with pytest.raises(ValueError, match=r"target must be one of the arrays in .*'second' \(12,\), got 'third'"):
        read(path, "third")
    np.savez(path, x=X, X=X, y=Y)
    with pytest.raises(ValueError, match="'x' and 'X', which may both be x"):
        read(path)
    np.savez(path, x=X, y=Y[:5])
    with pytest.raises(ValueError, match=r"d\.npz: y must have a label for each of 12 samples, got 5"):
        read(path)
    np.savez(path, x=X[:, 0], y=Y)
    with pytest.raises(ValueError, match=r"d\.npz: x must hold samples in rows"):
        read(path)
    for bad in (b"", b"PK\x03\x04" + bytes(50), path.read_bytes()[:-30], b"hello"):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match=r"d\.npz is not a \.npz file"):
            read(path)
    np.savez(path, x=np.array([{}, None], object), y=Y)
    with pytest.raises(ValueError, match=r"d\.npz is not a \.npz file of numbers"):
        read(path)


@pytest.mark.parametrize(
    ("samples", "labels"),
    [
        ("x.npy", "y.npy"),
        ("X_train.npy", "y_train.npy"),
        ("my_images.npy", "my_labels.npy"),
        ("run-x-1.npy", "run-y-1.npy"),
    ],
)
def test_npy_pairs_are_found_by_name(tmp_path, samples, labels):
    np.save(tmp_path / samples, X)
    with pytest.raises(ValueError, match="target must be the file of the labels"):
        read(tmp_path / samples)
    np.save(tmp_path / labels, Y)
    found = read(tmp_path / samples)
    assert isinstance(found.x, np.memmap)  # read in parts, if it is large
    np.testing.assert_array_equal(found.y, Y)


def test_npy_files_with_a_target_and_in_a_folder(tmp_path):
    np.save(tmp_path / "samples.npy", X.reshape(-1, 2, 3))
    np.save(tmp_path / "answers.npy", Y)
    found = read(tmp_path / "samples.npy", tmp_path / "answers.npy")
    np.testing.assert_array_equal(found.x, X)
    assert found.image_shape == (2, 3)
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, array in (("x_train", X[:8]), ("y_train", Y[:8]), ("x_test", X[8:]), ("y_test", Y[8:])):
        np.save(folder / f"{name}.npy", array)
    found = read(folder)
    np.testing.assert_array_equal(found.x, X[:8])
    np.testing.assert_array_equal(found.test[1], Y[8:])
    with pytest.raises(ValueError, match="target must not be given for the folder"):
        read(folder, "y")


# Tables


def table(separator=",", rows=X, labels=Y, names=(*NAMES, "label")):
    lines = [separator.join(map(str, (*row, label))) for row, label in zip(rows, labels)]
    return "\n".join([separator.join(names), *lines]) + "\n"


@pytest.mark.parametrize("name", ["d.csv", "d.csv.gz", "d.tsv", "semicolon.csv", "d.parquet"])
@pytest.mark.parametrize("target", ["label", 6, -1, "-1"])
def test_tables_of_every_kind(tmp_path, package, name, target):
    path = tmp_path / name
    if name.endswith("parquet"):
        polars = pytest.importorskip("polars")
        polars.DataFrame({name: X[:, k] for k, name in enumerate(NAMES)} | {"label": Y}).write_parquet(path)
    else:
        text = table({"d.tsv": "\t", "semicolon.csv": ";"}.get(name, ",")).encode()
        path.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    found = read(path, target)
    np.testing.assert_array_equal(np.asarray(found.x), X)
    np.testing.assert_array_equal(found.y, Y)
    assert (found.kind, found.names, found.target, list(found.x.columns)) == ("table", NAMES, "label", NAMES)
    if not name.endswith("parquet"):  # which pandas reads with the help of pyarrow alone
        assert type(found.x).__module__.startswith(package)


def test_missing_values_texts_and_booleans_are_the_same_in_both_packages(tmp_path, package):
    path = tmp_path / "d.csv"
    path.write_text("n, f,text,flag,y\n1, 2.5, red,True,no\n3,?,NA,False,yes\n-1,,blue,True,no\n")
    found = read(path, "y")
    assert found.names == ["n", "f", "text", "flag"]
    numbers = np.asarray(found.x[["n", "f"]], np.float64)
    np.testing.assert_array_equal(numbers, [[1, 2.5], [3, np.nan], [-1, np.nan]])
    texts = [value if isinstance(value, str) else None for value in found.x["text"].to_list()]
    assert texts == ["red", None, "blue"]
    assert found.x["flag"].to_list() == [True, False, True]
    assert found.y.tolist() == ["no", "yes", "no"]
    assert found.y.dtype.kind == "U"


@pytest.mark.parametrize(
    ("values", "kind"), [("1 2 1", "i"), ("1.5 2 1", "f"), ("a b a", "U"), ("True False True", "b")]
)
def test_targets_have_the_type_that_decides_on_the_loss(tmp_path, package, values, kind):
    path = tmp_path / "d.csv"
    path.write_text("x,y\n" + "".join(f"{k},{value}\n" for k, value in enumerate(values.split())))
    assert read(path, "y").y.dtype.kind == kind


def test_the_target_must_be_named_and_be_there(tmp_path, package):
    path = tmp_path / "d.csv"
    path.write_text(table())
    with pytest.raises(ValueError, match=r"target must be a column of .*d\.csv, which are 'a', .*'label'; got none"):
        read(path)
    for wrong in ("labels", 7, -8, "7"):
        with pytest.raises(ValueError, match=r"target must be a column of .*d\.csv.*'label'; got '?[-l7]"):
            read(path, wrong)
    with pytest.raises(ValueError, match="ignore must be a column of"):
        read(path, "label", ignore=["z"])
    assert read(path, "label", ignore=["a", 2]).names == ["b", "d", "e", "f"]
    unlabelled = read(path, labelled=False)
    assert (unlabelled.y, unlabelled.names) == (None, [*NAMES, "label"])
    # a table to predict from may hold its target, or not
    assert read(path, "label", labelled=False).names == NAMES
    path.write_text(table().replace("label", "g"))
    assert read(path, "label", labelled=False).names == [*NAMES, "g"]


def test_a_wide_tables_columns_are_not_all_listed(tmp_path, package):
    path = tmp_path / "d.csv"
    path.write_text(",".join(f"c{k}" for k in range(100)) + "\n" + ",".join("1" * 100) + "\n")
    with pytest.raises(ValueError, match=r"'c19' and 80 more; got 'y'"):
        read(path, "y")


def test_missing_targets_are_refused_with_their_row(tmp_path, package):
    path = tmp_path / "d.csv"
    path.write_text("x,y\n1,a\n2,\n3,b\n4,NA\n")
    with pytest.raises(ValueError, match=r"none in column 'y', row 1 \(the first is row 0\), and 1 more"):
        read(path, "y")


def test_a_file_without_names_is_noticed(tmp_path, package):
    path = tmp_path / "d.csv"
    path.write_text("5.1,3.5,setosa\n6.2,2.9,virginica\n")
    with pytest.raises(ValueError, match=r"names of its columns in the first line, got the number 5\.1"):
        read(path, -1)
    found = read(path, -1, header=False)
    np.testing.assert_array_equal(np.asarray(found.x), [[5.1, 3.5], [6.2, 2.9]])
    assert found.y.tolist() == ["setosa", "virginica"]
    path.write_text("setosa,5.1,3.5\n")
    assert read(path, 0, header=False).names == ["0", "1"]  # as in a table without the target
    path.write_text("400.5,410.5,y\n1,2,a\n3,4,b\n")
    assert read(path, "y", header=True).names == ["400.5", "410.5"]
    path.write_text("0,1,y\n1,2,a\n3,4,b\n")  # as data frames of an array are written
    assert read(path, "y").names == ["0", "1"]


def test_numbers_of_rows_are_no_feature(tmp_path, package):
    path = tmp_path / "d.csv"
    path.write_text(",a,y\n0,5,u\n1,6,v\n")
    assert read(path, "y").names == ["a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "d.csv is empty"),
        (b"\n \n", "d.csv is empty"),
        (b"a,y\n", "d.csv holds no rows"),
        (b"y\n1\n", "must have a column besides the target"),
        (b"a,y\n1,2\n1,2,3\n", "line 3 has 3 fields, but the first line has 2"),
        (b"a,a,y\n1,2,3\n", "columns of different names, got 'a' twice"),
        (b'a,y\n"1,2\n', "can't be read as a table"),
        (b"a,y\n\xe9,1\n", "must be text in UTF-8"),
    ],
)
def test_broken_tables_are_refused_by_name(tmp_path, package, text, message):
    path = tmp_path / "d.csv"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=message):
        read(path, "y")


def test_broken_files_of_other_kinds_of_tables(tmp_path, package):
    for name, data, message in (
        ("d.csv.gz", b"a,y\n1,2\n", "is not a complete gzip file"),
        ("d.csv.gz", gzip.compress(b"a,y\n1,2\n")[:-9], "is not a complete gzip file"),
        ("d.parquet", b"a,y\n1,2\n", "is not a Parquet file"),
        ("d.parquet", b"", "is not a Parquet file"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=message):
            read(tmp_path / name, "y")


def test_a_target_of_dates_is_refused(tmp_path):
    polars = pytest.importorskip("polars")
    dates = polars.Series(["2020-01-01", "2020-01-02"]).str.to_date()
    polars.DataFrame({"x": [1, 2], "when": dates}).write_parquet(tmp_path / "d.parquet")
    with pytest.raises(TypeError, match="the target 'when' must hold labels or numbers"):
        read(tmp_path / "d.parquet", "when")


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    (tmp_path / "d.csv").write_text(table())
    (tmp_path / "d.svm").write_text("1 1:2\n")
    (tmp_path / "d.png").write_bytes(b"")
    for hidden, name, extra in (
        ("polars", "d.csv", "tabular"), ("sklearn.datasets", "d.svm", "sklearn"), ("PIL.Image", "d.png", "images"),
    ):  # fmt: skip
        monkeypatch.setattr(tables, "_package", lambda: "polars")

        class Missing:
            name = hidden

            def find_spec(self, name, path=None, target=None):
                if name == self.name:
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        with monkeypatch.context() as patched:
            for loaded in [module for module in sys.modules if module == hidden or module.startswith(f"{hidden}.")]:
                patched.delitem(sys.modules, loaded)
            patched.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
            with pytest.raises(ImportError, match=rf"fastmlp\[{extra}\]"):
                read(tmp_path / name, "label", labelled=False)


# svmlight


@pytest.mark.parametrize("name", ["d.svm", "d.libsvm", "a9a", "d.svm.gz"])
def test_svmlight_files_are_sparse(tmp_path, name):
    pytest.importorskip("sklearn")
    text = b"+1 3:1 11:0.5 # a comment\n-1 2:2\n-1\n+1 0:4 5:1e-3\n"
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    found = read(tmp_path / name)
    want = np.zeros((4, 12), np.float32)
    want[0, [3, 11]], want[1, 2], want[3, [0, 5]] = (1, 0.5), 2, (4, 1e-3)
    assert (found.x.format, found.x.dtype, found.y.dtype) == ("csr", np.float32, np.int64)
    np.testing.assert_array_equal(found.x.toarray(), want)
    assert found.y.tolist() == [1, -1, -1, 1]


def test_svmlight_files_get_the_width_of_a_model(tmp_path):
    pytest.importorskip("sklearn")
    (tmp_path / "d.svm").write_text("0.5 1:1 3:2\n1 2:1\n")
    for n_features in (3, 4, 9):
        x = read(tmp_path / "d.svm", n_features=n_features).x
        want = np.zeros((2, 9))
        want[0, [1, 3]], want[1, 2] = (1, 2), 1
        np.testing.assert_array_equal(x.toarray(), want[:, :n_features])
    assert read(tmp_path / "d.svm").y.tolist() == [0.5, 1]


def test_broken_svmlight_files_are_refused_by_name(tmp_path):
    pytest.importorskip("sklearn")
    for text in ("1 2:x\n", "1 3:1 2:1\n", "one 1:1\n", "1 99999999999999999999:1\n"):
        (tmp_path / "d.svm").write_text(text)
        with pytest.raises(ValueError, match=r"d\.svm is not an svmlight file"):
            read(tmp_path / "d.svm")


# Anything else


def test_what_is_no_data_set_is_refused_with_what_can_be_read(tmp_path):
    for name, data in (("d.txt", b"hello\n"), ("nothing", b""), ("d.gz", b"junk")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=r"is not a data set that can be read; these are IDX, \.npz"):
            read(tmp_path / name)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="holds no data set; what can be read are"):
        read(tmp_path / "folder")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "not here.csv", "y")
