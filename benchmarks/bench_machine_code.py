"""The inner loops of hot kernels in machine code, for all processors that this machine can compile for: no noise."""

from contextlib import suppress

import machine_code


class InnerLoop:
    """Instructions of a kernel's inner loop, once around; see `benchmarks/machine_code.py`."""

    params = [machine_code.rows_here(), list(machine_code.KERNELS)]
    param_names = ["processor", "kernel"]
    timeout = 120
    version = "1"

    def setup_cache(self):
        measured = {row: {} for row in machine_code.rows_here()}
        for row, kernels in measured.items():
            with suppress(RuntimeError):  # a version that does not compile for it; `setup` skips what is not there
                kernels.update(machine_code.measure(row))
        return measured

    setup_cache.timeout = 900

    def setup(self, measured, row, kernel):
        if kernel not in measured[row]:
            raise NotImplementedError(f"not in this version: {kernel}")

    def track_fmas(self, measured, row, kernel):
        return measured[row][kernel]["fmas"]

    track_fmas.unit = "vector FMAs"

    def track_loads(self, measured, row, kernel):
        return measured[row][kernel]["loads"]

    track_loads.unit = "loads"

    def track_stores(self, measured, row, kernel):
        return measured[row][kernel]["stores"]

    track_stores.unit = "stores"

    def track_spills(self, measured, row, kernel):
        return measured[row][kernel]["stack"]

    track_spills.unit = "accesses of the stack"

    def track_bytes(self, measured, row, kernel):
        return measured[row][kernel]["bytes"]

    track_bytes.unit = "bytes"
