import contextlib
import http.client
import json
import socket
import threading

import numpy as np
import pytest
from strokes import DRAWINGS, distorted, render

import fastmlp
from fastmlp.datasets.digit_image import digit_image
from fastmlp.demo import run_demo
from fastmlp.demo.server import SIDE, TOKEN_HEADER, DemoServer
from fastmlp.demo.session import LEARNT, SHOWN_UNITS, Session, hidden_units
from fastmlp.demo.training import shifted_and_scaled, train_on_digits

DRAWN = {digit: render(drawings[0], SIDE) for digit, drawings in DRAWINGS.items()}


@pytest.fixture(scope="module")
def model():
    return train_on_digits()


@pytest.fixture
def server(model):
    with serving(model) as server:
        yield server


@contextlib.contextmanager
def serving(model):
    with DemoServer(model) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(server, method, path, body=None, **headers):
    """Return the status and the text of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.read().decode()


SEVEN = DRAWN[7].tobytes()


def post(server, path, body=SEVEN, **headers):
    return ask(server, "POST", path, body, **{TOKEN_HEADER: server.token, **headers})


# ---------------------------------------------------------------------------------------------- the network


def careless_drawings():
    rng = np.random.default_rng(0)
    x, y = [], []
    for digit, drawings in DRAWINGS.items():
        for drawing in drawings * 20:
            width, scale = rng.uniform(4, 12), rng.uniform(0.5, 1)
            x.append(digit_image(render(distorted(drawing, rng), 56, width, scale)))
            y.append(digit)
    return np.array(x), np.array(y)


def test_drawings_are_recognized(model):
    for width in (5, 8, 12):
        x = np.array(
            [digit_image(render(drawing, 84, width)) for drawings in DRAWINGS.values() for drawing in drawings]
        )
        y = np.repeat(list(DRAWINGS), [len(drawings) for drawings in DRAWINGS.values()])
        assert (model.predict(x) != y).sum() <= 2  # of 50


def test_shifted_and_scaled_copies_help_with_drawings():
    # over 4000 drawings and five seeds: 3.9% errors against 5.2%, a loss of 0.138 against 0.184
    x, y = careless_drawings()
    mnist = fastmlp.load_mnist()
    measured = []
    for copies, epochs in ((2, 5), (0, 15)):  # as many steps
        models = [train_on_digits(copies, epochs, seed) for seed in range(2)]
        drawn, printed = ([each.evaluate(*data) for each in models] for data in ((x, y), (mnist.x_test, mnist.y_test)))
        measured.append([np.mean(drawn, axis=0), np.mean(printed, axis=0)])
    (drawn, printed), (drawn_without, printed_without) = measured
    for with_copies, without in ((drawn, drawn_without), (printed, printed_without)):
        assert with_copies[0] < without[0]
        assert with_copies[1] > without[1]


def test_copies_are_moved_a_little_and_keep_what_is_drawn():
    x = fastmlp.load_mnist().x_test[:500]
    copies = shifted_and_scaled(x, np.random.default_rng(0))
    assert (copies != x).any(axis=1).all()
    columns = np.arange(784) % 28
    moved = copies @ columns.astype(float) / copies.sum(axis=1) - x @ columns.astype(float) / x.sum(axis=1)
    assert 0.2 < np.abs(moved).mean() < 1.5
    ratio = copies.sum(axis=1) / x.sum(axis=1)
    assert 0.55 < ratio.min() < ratio.max() < 1.45
    assert np.array_equal(copies, shifted_and_scaled(x, np.random.default_rng(0)))


# ---------------------------------------------------------------------------------------------- the session


def test_hidden_units_are_those_of_which_the_output_is_made(model):
    standardized = fastmlp.train(
        *fastmlp.load_mnist()[:2], hidden=(20, 600), activation="tanh", epochs=1, input_scale="standardize", seed=0
    )
    for each in (model, standardized):
        seen = digit_image(DRAWN[3])
        units = hidden_units(each, seen)
        assert [len(layer) for layer in units] == [min(width, SHOWN_UNITS) for width in each.widths[1:-1]]
        if len(units[-1]) == each.widths[-2]:
            logits = units[-1] @ each.weights[-1] + each.biases[-1]
            probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
            assert np.allclose(probabilities, each.predict_proba(seen[None])[0], atol=1e-5)
    first = (digit_image(DRAWN[3]) - standardized.input_scale.offset) * standardized.input_scale.factor
    expected = np.tanh(first @ standardized.weights[0] + standardized.biases[0])
    assert np.allclose(hidden_units(standardized, digit_image(DRAWN[3]))[0], expected, atol=1e-4)


def test_a_correction_is_learnt_in_one_step_and_can_be_forgotten(model):
    session, weights = Session(model), [weight.copy() for weight in model.weights]
    before, after, rate = session.learn(DRAWN[7], 4)
    assert before.probabilities.argmax() == 7
    assert after.probabilities.argmax() == 4
    assert after.probabilities[4] >= LEARNT
    assert rate > 0
    assert np.array_equal(session.answer(DRAWN[7]).probabilities, after.probabilities)
    session.forget()
    assert np.array_equal(session.answer(DRAWN[7]).probabilities, before.probabilities)
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.weights))


def test_corrections_of_misread_drawings_cost_little_of_what_it_knew(model):
    mnist = fastmlp.load_mnist()
    rng = np.random.default_rng(1)
    session, accuracies = Session(model), []
    for digit, drawings in DRAWINGS.items():
        for drawing in drawings * 2:
            careless = render(distorted(drawing, rng), SIDE)
            if session.answer(careless).probabilities.argmax() != digit:
                assert session.learn(careless, digit)[1].probabilities.argmax() == digit
                accuracies.append(session._model.evaluate(mnist.x_test, mnist.y_test).accuracy)
                session.forget()
    assert len(accuracies) >= 3
    assert np.mean(accuracies) > model.evaluate(mnist.x_test, mnist.y_test).accuracy - 0.01


def test_a_step_that_diverges_is_not_taken():
    mnist = fastmlp.load_mnist()
    model = fastmlp.train(mnist.x_train[:500], mnist.y_train[:500], epochs=1, seed=0)
    model.biases[0][:] = 1e30
    model.weights[1][:] = 0
    before, after, rate = Session(model).learn(DRAWN[7], 4)
    assert rate == 0
    assert np.array_equal(before.probabilities, after.probabilities)


def test_models_of_something_else_are_refused():
    x = np.random.default_rng(0).random((40, 784))
    for model in (
        fastmlp.train(x[:, :5], np.arange(40) % 2, epochs=1),
        fastmlp.train(x, np.arange(40) / 2, epochs=1),
        fastmlp.train(x, np.arange(40) % 2, loss="notebook", epochs=1),
    ):
        with pytest.raises(ValueError, match="the demo needs a classifier of 28 x 28 pixels"):
            run_demo(model, browser=False)


def test_labels_may_be_any_and_cannot_end_the_script():
    x = np.random.default_rng(0).random((40, 784))
    labels = np.array(["</script><b>", "<!--", "é"])[np.arange(40) % 3]
    with serving(fastmlp.train(x, labels, hidden=(), epochs=1, seed=0)) as server:
        status, page = ask(server, "GET", f"/?token={server.token}")
        assert status == 200
        assert page.count("</script>") == 2
        assert "<!--" not in page
        answer = json.loads(post(server, "/learn?label=2")[1])
        assert len(answer["after"]["probabilities"]) == 3
        assert answer["after"]["units"] == []


# ---------------------------------------------------------------------------------------------- the server


def test_the_page_and_the_answers(server):
    status, page = ask(server, "GET", f"/?token={server.token}")
    assert status == 200
    assert "{{" not in page
    assert "784-128-10" in page
    for outside in ("http://", "https://", "src=", "@import", "url("):
        assert outside not in page
    status, text = post(server, "/predict")
    answer = json.loads(text)
    assert np.argmax(answer["probabilities"]) == 7
    assert answer["seen"] == digit_image(DRAWN[7]).tolist()
    assert len(answer["units"][0]) == 128
    lesson = json.loads(post(server, "/learn?label=4")[1])
    assert np.argmax(lesson["before"]["probabilities"]) == 7
    assert np.argmax(lesson["after"]["probabilities"]) == 4
    assert json.loads(post(server, "/predict")[1]) == lesson["after"]
    assert json.loads(post(server, "/forget")[1]) == answer


def test_requests_need_the_token_and_the_host(server):
    for path in ("/", "/?token=", "/?token=wrong", f"/?token={server.token}x", f"/?Token={server.token}"):
        assert ask(server, "GET", path)[0] == 403
    for path in ("/predict", "/learn?label=1", "/forget", f"/predict?token={server.token}"):
        assert ask(server, "POST", path, DRAWN[7].tobytes())[0] == 403
        assert post(server, path, **{TOKEN_HEADER: "wörng".encode("latin-1")})[0] == 403
    port = server.server_port
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}", ""):
        assert post(server, "/predict", Host=host)[0] == 403
        assert ask(server, "GET", f"/?token={server.token}", Host=host)[0] == 403
    for origin in ("http://evil.example", "null", f"http://evil.example:{port}", "http://[", ""):
        assert post(server, "/predict", Origin=origin)[0] == 403
    for name in ("127.0.0.1", "localhost"):
        assert post(server, "/predict", Host=f"{name}:{port}", Origin=f"http://{name}:{port}")[0] == 200
    other = DemoServer(server.session._original)
    other.server_close()
    assert other.token != server.token


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/predict", b"", {}, 400),
        ("/predict", b"x", {}, 400),
        ("/predict", b"x" * (SIDE * SIDE - 1), {}, 400),
        ("/predict", b"x" * (SIDE * SIDE + 1), {}, 413),
        ("/predict", b"", {"Content-Length": "99999999999999999999"}, 413),
        ("/predict", b"", {"Content-Length": "-5"}, 411),
        ("/predict", b"", {"Content-Length": "many"}, 411),
        ("/predict", b"", {"Content-Length": "²"}, 411),
        ("/learn", DRAWN[1].tobytes(), {}, 400),
        ("/learn?label=10", DRAWN[1].tobytes(), {}, 400),
        ("/learn?label=-1", DRAWN[1].tobytes(), {}, 400),
        ("/learn?label=1.0", DRAWN[1].tobytes(), {}, 400),
        ("/learn?label=" + "9" * 5000, DRAWN[1].tobytes(), {}, 400),
        ("/learn?" + "&".join("label=1" for _ in range(50)), DRAWN[1].tobytes(), {}, 400),
        ("/nothing", DRAWN[1].tobytes(), {}, 404),
        ("/../../etc/passwd", DRAWN[1].tobytes(), {}, 404),
        ("/predict", DRAWN[1].tobytes(), {}, 200),
        ("/predict", bytes(SIDE * SIDE), {}, 200),
        ("/predict", b"\xff" * (SIDE * SIDE), {}, 200),
        ("/predict", np.random.default_rng(0).bytes(SIDE * SIDE), {}, 200),
        ("/learn?label=0", bytes(SIDE * SIDE), {}, 200),
    ],
)
def test_bodies_have_one_size_and_labels_are_checked(server, path, body, headers, status):
    assert post(server, path, body, **headers)[0] == status
    assert post(server, "/predict")[0] == 200


def test_garbage_is_survived(server, capsys):
    rng = np.random.default_rng(0)
    token = server.token.encode()
    address = f"Host: 127.0.0.1:{server.server_port}\r\nX-Fastmlp-Token: ".encode() + token
    messages = [
        b"",
        b"\0" * 100,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"BREW /pot HTTP/1.1\r\n" + address + b"\r\n\r\n",
        b"POST http://[/predict HTTP/1.1\r\n" + address + b"\r\n\r\n",
        b"POST /predict HTTP/1.1\r\n" + address + b"\r\nContent-Length: 19600\r\n\r\ntoo short",
        b"POST /predict HTTP/1.1\r\n" + address + b"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 500 + b"\r\n",
        b"GET / HTTP/1.1\r\n: :\r\n\xff\xfe\r\n\r\n",
        *(rng.bytes(int(n)) for n in rng.integers(1, 3000, 30)),
    ]
    for message in messages:
        connection = socket.create_connection(("127.0.0.1", server.server_port), timeout=20)
        # the server may hang up before it has read everything; shutdown then says ENOTCONN, which is no ConnectionError
        with connection, contextlib.suppress(ConnectionError):
            connection.sendall(message)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
    assert post(server, "/predict")[0] == 200
    assert "Traceback" not in capsys.readouterr().err


def test_many_at_once_get_the_answers_of_one_network(server):
    expected = {digit: post(server, "/predict", DRAWN[digit].tobytes()) for digit in DRAWN}
    wrong = []

    def visitor(digit):
        for _ in range(10):
            if post(server, "/predict", DRAWN[digit].tobytes()) != expected[digit]:
                wrong.append(digit)

    threads = [threading.Thread(target=visitor, args=(digit,)) for digit in DRAWN]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_demo_prints_its_address_and_ends_with_ctrl_c(model, monkeypatch, capsys):
    opened = []

    def open_browser(url):
        opened.append(url)
        raise KeyboardInterrupt

    monkeypatch.setattr("webbrowser.open", open_browser)
    run_demo(model)
    assert opened[0].startswith("http://127.0.0.1:")
    assert opened[0] in capsys.readouterr().out
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(opened[0].split(":")[2].split("/")[0])), timeout=5)


def test_without_a_model_one_is_trained(monkeypatch, capsys):
    monkeypatch.setattr("fastmlp.demo.training.train_on_digits", lambda on_epoch: pytest.fail("trained"))
    with pytest.raises(pytest.fail.Exception, match="trained"):
        run_demo(browser=False)
    assert "training on MNIST" in capsys.readouterr().out
