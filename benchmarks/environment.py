"""What has to be set before libraries are imported: threads, and the instructions that all of them may use."""

from __future__ import annotations

import os

AVX2 = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx2,+fma,+avx,+sse4.2,+popcnt,+bmi,+bmi2,+f16c",
    "OPENBLAS_CORETYPE": "Haswell",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
}


def prepare(threads: int, avx2: bool = False) -> None:
    """Give every library the same number of threads, and with `avx2` no instruction beyond AVX2.

    Parameters
    ----------
    threads : int
    avx2 : bool
        Measure on a processor with AVX-512 what one without it would do.
    """
    for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # they make BLAS slower: never win by that
        os.environ.pop(variable, None)
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(threads)
    flags = [f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"]
    if avx2:
        os.environ.update(AVX2)
        flags.append("--xla_cpu_max_isa=AVX2")
    os.environ["XLA_FLAGS"] = " ".join(flags)
