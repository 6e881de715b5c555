"""Single kernels, on one thread, on shapes around the widths of tiles, beside a product in NumPy."""

from contextlib import suppress

import numpy as np

from . import data

SHAPES = [(128, 784, 128), (127, 300, 65), (17, 784, 64)]  # batch size, n_in, n_out
N_LOSS_SAMPLES = 2048


class Kernels:
    """A first layer's kernels, called as the regions of a step call them, over NumPy's product of the same layer.

    Some microseconds are the call's.  Kernels that make no product are over the layer's product too.
    """

    params = [
        ["dense_forward", "dense_backward_input", "dense_update", "dense_forward_row", "dense_backward_row",
         "make_lists", "make_lists_from_words", "grouped_add", "grouped_update",
         "find_nonzeros", "copy_nonzeros", "sort_nonzeros",
         "sparse_forward", "sparse_update", "sparse_update_row", "dense_update_adam", "bias_update", "transpose",
         "make_words", "finish_forward", "prepare_rows", "prepare_entries", "penalize", "update_strip", "limit_norms",
         "weigh", "activate", "scale_gradient", "update_scaled", "average_parameters", "flush_subnormals"],
        SHAPES,
    ]  # fmt: skip
    param_names = ["kernel", "shape"]
    unit = "times NumPy's x @ weight of this shape"
    timeout = 120
    version = "3"

    @data.missing
    def setup(self, kernel, shape):
        kernel_call(kernel, shape)()  # compiles

    def track_over_numpy(self, kernel, shape):
        return data.call_over_product(kernel_call, (kernel, shape), shape)


class Losses:
    """Losses with their gradients, 2048 samples, over NumPy's product that makes their logits from 128 units."""

    params = [["cross_entropy", "softmax_mse", "notebook", "mse", "binary_cross_entropy"], [2, 10, 100]]
    param_names = ["loss", "outputs"]
    unit = "times NumPy's x @ weight, 128 inputs to these outputs"
    version = "3"

    @data.missing
    def setup(self, loss, n_outputs):
        loss_call(loss, n_outputs)()  # compiles

    def track_over_numpy(self, loss, n_outputs):
        return data.call_over_product(loss_call, (loss, n_outputs), (N_LOSS_SAMPLES, 128, n_outputs))


def _layer(batch_size, n_in, n_out):
    """A first layer with its memory as the executor lays it out, its input, and a rule that changes no weight."""
    from .internals import PLAIN, Executor, Rule, initial_parameters

    rng = np.random.default_rng(0)
    x = (rng.integers(1, 256, (batch_size, n_in)) * (rng.random((batch_size, n_in)) < 0.2)).astype(np.uint8)
    run = Executor(initial_parameters((n_in, n_out, 2), "he", rng), ["relu"], "cross_entropy", batch_size)
    rule = Rule(PLAIN, np.float32(1e-30), np.float32(0), np.float32(0))
    return run, x, np.arange(batch_size), rule


def _matrices(run, batch_size):
    from .internals import network as n

    zero, size = np.int64(0), np.int64(batch_size)
    return n.network_input(run.network, size), n.output_of(run.network, zero, size), n.weight_of(run.network, zero)


def _dense(function):
    def make(batch_size, n_in, n_out):
        from .internals import bias_of, dense, gather, layout_of, rows_of

        run, x, samples, rule = _layer(batch_size, n_in, n_out)
        network, layout = run.network, layout_of(run.network)
        inp, out, weight = _matrices(run, batch_size)
        gather.gather(network.workspace, inp, rows_of(x, "auto"), samples, 0, 0, batch_size)
        bias = bias_of(network)
        if function == "dense_forward":
            return lambda: dense.dense_forward(
                network.workspace, out, inp, network.parameters, weight, bias, 0, layout.scratch, 0, dense.tiles(out),
                dense.no_prefetch(),
            )  # fmt: skip
        if function == "dense_update":
            return lambda: dense.dense_update(
                network.workspace, inp, out, network.parameters, network.state, weight, layout.zeros, rule,
                layout.scratch, 0, dense.strips(weight), 0, weight.rows,
            )  # fmt: skip
        if function in ("dense_forward_row", "dense_backward_row"):
            from .internals import grouped, rows

            strips = grouped.count_strips(out)
            if function == "dense_forward_row":
                return lambda: rows.dense_forward_row(
                    network.workspace, out, inp, network.parameters, weight, bias, 0, 0, strips
                )
            return lambda: rows.dense_backward_row(
                network.workspace, inp, out, network.parameters, network.state, weight, 0, 0, rule, layout.scratch,
                0, -(-n_in // 16),
            )  # fmt: skip
        panel = int(weight.row)  # columns of a panel
        size = network.workspace.size
        transposed = np.zeros(size + panel * (n_out + panel) * (n_in // panel + 2), np.float32)
        transposed[:size] = network.workspace
        at = dense.Matrix(size, (n_out + 15) // 16 * 16 * panel, panel, n_out, n_in)
        return lambda: dense.dense_backward_input(
            transposed, inp, out, at, layout.zeros, 0, 0, layout.scratch, 0, dense.tiles(inp)
        )

    return make


def _grouped(function):
    def make(batch_size, n_in, n_out):
        from scipy.sparse import csr_matrix

        from .internals import coded_rows, coded_words, grouped, layout_of, strip_ranges, workspace

        run, x, samples, rule = _layer(batch_size, n_in, n_out)
        network, layout = run.network, layout_of(run.network)
        _, out, weight = _matrices(run, batch_size)
        rows, table = coded_rows(x, "auto")
        workspace.set_table(network, table)
        lists = workspace.lists_for(n_in, batch_size)

        def make_lists():
            grouped.locate(lists, rows, samples, 0, batch_size, rows.data.size - rows.stride)
            grouped.make_lists(lists, rows, batch_size, 0, lists.groups)

        def make_lists_from_words():
            grouped.make_lists_from_words(lists, words, samples, 0, batch_size, 0, lists.groups)

        words, _ = coded_words(csr_matrix(x), 1 / 255)
        make_lists()
        ranges, blocks = strip_ranges(grouped, out, batch_size), -(-batch_size // 128)
        prefetch = grouped.GroupPrefetch(rows, samples, 1, 0, 0, 0)

        def grouped_add():
            for strips in ranges:
                for block in range(blocks):
                    grouped.grouped_add(
                        network.workspace, out, layout.table, lists, block, network.parameters, weight, *strips,
                        prefetch,
                    )  # fmt: skip

        def grouped_update():
            for strips in ranges:
                grouped.grouped_update(
                    network.workspace, out, layout.table, lists, network.parameters, network.state, weight, rule,
                    layout.scratch, *strips,
                )  # fmt: skip

        return locals()[function]

    return make


def _sparse(function):
    def make(batch_size, n_in, n_out):
        from scipy.sparse import csr_matrix

        from .internals import bias_of, grouped, layout_of, rows_of, sparse, workspace

        run, x, samples, rule = _layer(batch_size, n_in, n_out)
        network, layout = run.network, layout_of(run.network)
        _, out, weight = _matrices(run, batch_size)
        rows, entries = rows_of(x, "auto"), workspace.nonzeros_for(n_in, batch_size, n_in)
        bias, strips = bias_of(network), grouped.count_strips(out)

        def find_nonzeros():
            sparse.find_nonzeros(entries, rows, samples, 0, 0, batch_size)

        def copy_nonzeros():
            sparse.copy_nonzeros(copied, csr, samples, 0, 0, batch_size)

        def sort_nonzeros():
            sparse.sort_nonzeros(entries, batch_size, n_in, 0, len(entries.touched))

        def sparse_forward():
            for strip in range(strips):
                sparse.sparse_forward(
                    network.workspace, out, entries, network.parameters, weight, bias, 0, strip, rows, samples,
                    batch_size,
                )  # fmt: skip

        def sparse_update():
            for strip in range(strips):
                sparse.sparse_update(
                    network.workspace, out, entries, network.parameters, network.state, weight, rule, layout.scratch,
                    strip,
                )  # fmt: skip

        def sparse_update_row():
            for strip in range(strips):
                sparse.sparse_update_row(
                    network.workspace, out, entries, network.parameters, weight, rule.learning_rate, strip
                )

        copied, csr = workspace.nonzeros_for(n_in, batch_size, n_in), rows_of(csr_matrix(x), 1 / 255)
        find_nonzeros()
        sort_nonzeros()
        return locals()[function]

    return make


def _more(function):
    """What some trainings have beside the products: on a whole layer, strip by strip where the kernel takes strips."""

    def make(batch_size, n_in, n_out):
        from scipy.sparse import csr_matrix

        from .internals import (
            ADAM,
            NARROW,
            SIGMOID,
            TANH,
            Rule,
            activations,
            bias_of,
            dense,
            dropout,
            grouped,
            layout_of,
            losses,
            penalties,
            rows_of,
            sparse,
            workspace,
        )

        run, x, samples, rule = _layer(batch_size, n_in, n_out)
        network, layout = run.network, layout_of(run.network)
        inp, out, weight = _matrices(run, batch_size)
        work, parameters, bias = network.workspace, network.parameters, bias_of(network)
        state = np.zeros(3 * parameters.size, np.float32)
        slope, strips = np.zeros(2 * work.size, np.float32), -(-n_out // int(NARROW))
        slope[: work.size] = work
        drop = dropout.dropout_of(1, 1, 0, 2**31)
        none, factor = np.zeros(0, np.float32), np.ones(-(-n_in // 64) * 64, np.float32)
        adam = Rule(ADAM, *np.float32([1e-30, 0.9, 0, 0.999, 1e-8, 1e-30, 1]))
        rows, entries = rows_of(x, "auto"), workspace.nonzeros_for(n_in, batch_size, n_in)
        sparse.find_nonzeros(entries, rows, samples, 0, 0, batch_size)
        csr = rows_of(csr_matrix(x), 1 / 255)
        words, starts = np.zeros(x.size, np.int64), np.zeros(batch_size + 1, np.int64)
        codes = np.ones(x.size, np.uint8)[: csr.data.size // csr.itemsize]
        one, clip = np.float32(1e-30), np.float32(0.5)

        def dense_update_adam():
            dense.dense_update(
                work,
                inp,
                out,
                parameters,
                state,
                weight,
                layout.zeros,
                adam,
                layout.scratch,
                0,
                dense.strips(weight),
                0,
                weight.rows,
            )

        def bias_update():
            dense.bias_update(work, out, parameters, state, bias, rule, layout.scratch, 0, dense.strips(out))

        def transpose():
            at = dense.Matrix(work.size, (n_out + 15) // 16 * 16 * 64, 64, n_out, n_in)
            dense.transpose(transposed, at, parameters, weight, 0, -(-n_in // 16))

        transposed = np.zeros(work.size + 64 * (n_out + 64) * (n_in // 64 + 1), np.float32)

        def make_words():
            grouped.make_words(words, starts, codes, csr.starts, csr.indices, csr.index_itemsize)

        def finish_forward():
            dropout.finish_forward(slope, out, work.size, TANH, drop, 0, dense.tiles(out))

        def prepare_rows():
            dropout.prepare_rows(work, inp, none, drop, 0, batch_size)

        def prepare_entries():
            dropout.prepare_entries(entries, n_in, factor, drop, 0, batch_size)

        def by_strips(kernel, *more):
            for strip in range(strips):
                at = weight.start + strip // 4 * weight.panel + strip % 4 * 16
                kernel(parameters, *([] if kernel is penalties.limit_norms else [state]), at, weight.row, n_in, *more)

        def penalize():
            by_strips(penalties.penalize, np.int64(16), one, one)

        def update_strip():
            by_strips(penalties.update_strip, clip, adam)

        weights, logits = np.ones(batch_size, np.float32), np.zeros(batch_size * 64, np.float32)

        def weigh():
            losses.weigh(work, out, weights, samples, 0, layout.rows, layout.capacity, 0, batch_size)

        def activate():
            activations.activate(logits, SIGMOID)

        def limit_norms():
            by_strips(penalties.limit_norms, np.float32(1e30))

        return locals()[function]

    return make


def _scaled(function):
    """What works on the whole first layer, or on all parameters, after a step or an epoch."""

    def make(batch_size, n_in, n_out):
        from .internals import ADAM, Rule, average, input_scale, optimizers

        run, *_ = _layer(batch_size, n_in, n_out)
        *_, weight = _matrices(run, batch_size)
        scale_at = run.network.parameters.size
        size = scale_at + -(-n_in // 16) * 16
        parameters, state = np.zeros(size, np.float32), np.ones(4 * size, np.float32)
        parameters[:scale_at] = run.network.parameters
        adam = Rule(ADAM, *np.float32([1e-30, 0.9, 0, 0.999, 1e-8, 1e-30, 1]))
        one, none = np.float32(1), np.float32(0)

        def scale_gradient():
            input_scale.scale_gradient(parameters, state, weight, 2 * size, scale_at, 0, n_in, none, none)

        def update_scaled():
            input_scale.update_scaled(parameters, state, weight, 2 * size, scale_at, 0, n_in, one, adam, adam)

        def average_parameters():
            average.average_parameters(parameters, state, 0, 0, size, np.float32(0.01))

        def flush_subnormals():
            optimizers.flush_subnormals(state, state.size)

        return locals()[function]

    return make


def loss_call(loss, n_outputs):
    """A function without arguments that computes a loss and its gradient."""
    from .internals import dense, loss_codes, losses

    n, rng = N_LOSS_SAMPLES, np.random.default_rng(0)
    panels = -(-n_outputs // 64)
    start = rng.standard_normal(panels * n * 64 + 3 * n).astype(np.float32)
    logits, work = dense.Matrix(0, n * 64, 64, n, n_outputs), start.copy()
    samples, labels = np.arange(n), rng.integers(0, n_outputs, n).astype(np.int32)
    targets = rng.standard_normal(n * n_outputs + 16).astype(np.float32)
    codes = loss_codes()
    elementwise = [name for name, code in codes.items() if code >= codes["mse"]]
    target = targets if loss in elementwise else labels
    rows = {"notebook": (), "cross_entropy": (0, n, np.float32(0))}.get(loss, (0, n))
    if loss in elementwise:
        kernel, rows = losses.elementwise, (0, n, codes[loss], np.float32(1))
    else:
        kernel = getattr(losses, loss)

    def call():
        work[:] = start  # the gradient overwrites the logits
        kernel(work, logits, target, samples, 0, panels * n * 64, n, *rows)

    return call


_KERNELS = {
    name: make(name)
    for make, names in (
        (_dense, Kernels.params[0][:5]),
        (_grouped, Kernels.params[0][5:9]),
        (_sparse, Kernels.params[0][9:15]),
        (_more, Kernels.params[0][15:27]),
        (_scaled, Kernels.params[0][27:]),
    )
    for name in names
}


def kernel_call(kernel, shape):
    """A function without arguments that calls a kernel on a layer of that shape."""
    return _KERNELS[kernel](*shape)


for _make in [*_KERNELS.values(), *(lambda *_, name=name: loss_call(name, 2) for name in Losses.params[0])]:
    with suppress(AttributeError, ImportError, TypeError):  # what a version lacks is skipped, see `data.missing`
        _make(*SHAPES[-1])()  # loads compiled code before asv forks
