"""The inner loops of hot kernels, in machine code for every processor that this machine can compile for."""

import sys

import inner_loops
import machine_code
import pytest
from llvmlite.binding import llvm_version_info
from numba.core import config

# Accesses of the stack in the inner loop, at most; 0 for those that are not named.  More are spills that a change made.
LLVM = 22
KNOWN = {
    "avx512": {"transpose": 9, "make_lists": 24},
    "avx2": {"dense_backward_row": 15, "transpose": 34, "make_lists": 13, "find_nonzeros": 1},
    "neon": {"dense_backward_row": 16, "transpose": 34, "make_lists": 24},
}


@pytest.mark.skipif(config.DISABLE_JIT or config.BOUNDSCHECK, reason="there is no optimized code")
@pytest.mark.skipif(llvm_version_info[0] != LLVM, reason=f"spills are known for LLVM {LLVM}")
@pytest.mark.parametrize("row", [row for row in machine_code.rows_here() if row in KNOWN])
def test_inner_loops_have_no_more_spills_than_known(row):
    found = machine_code.measure(row)
    assert set(found) == set(machine_code.KERNELS)
    spills = {kernel: counts["stack"] for kernel, counts in found.items()}
    allowed = {kernel: KNOWN[row].get(kernel, 0) for kernel in found}
    assert not {kernel: n for kernel, n in spills.items() if n > allowed[kernel]}
    for kernel in ("tile_of_rows", "tile_of_columns", "grouped_add", "grouped_update", "sparse_forward"):
        assert found[kernel]["fmas"] >= 8  # what hides the latency of an FMA
        assert found[kernel]["calls"] == 0
        assert found[kernel]["bytes"] > 4 * found[kernel]["fmas"] or sys.platform != "linux"


ASSEMBLY = """
_ZN4testB3v1B9:
	.cfi_startproc
	xorl	%eax, %eax
.LBB0_1:
	xorl	%ecx, %ecx
	.p2align	4
.LBB0_2:
	vmovups	(%rdi,%rcx), %ymm0
	vmovups	32(%rsp), %ymm1
	vfmadd231ps	(%rsi,%rcx), %ymm0, %ymm1
	vmovups	%ymm1, (%rdx,%rcx)
	leaq	(%rcx,%rcx), %r8
	testb	$1, %cl
	je	.LBB0_4
	callq	sqrtf
.LBB0_4:
	addq	$32, %rcx
	cmpq	8(%rsp), %rcx
	jne	.LBB0_2
	incq	%rax
	jne	.LBB0_1
	retq
	.cfi_endproc
"""


def test_a_loop_with_a_branch_is_counted_with_both_sides():
    function = ASSEMBLY.replace("_ZN4test", "_ZN4test4test")
    lines = function.splitlines()
    blocks = inner_loops.blocks_of(lines, *inner_loops._range(lines, "test"))
    (loop,) = inner_loops.inner_loops(blocks)
    counts = inner_loops.count(lines, blocks, loop)
    assert counts == {"fmas": 1, "loads": 2, "stores": 1, "stack": 2, "calls": 1, "instructions": 11}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sizes are read from ELF files")
@pytest.mark.parametrize(("code", "size"), [("\tnop\n", 1), ("\tnop\n\tnop\n", 2)])
def test_bytes_are_the_assemblers(code, size):
    lines = ["\t.text", *code.splitlines()]
    if machine_code.rows_here() == ["neon"]:
        size *= 4
    block = inner_loops.Block(None, list(range(1, len(lines))))
    assert inner_loops.n_bytes(lines, [block]) == size


def test_arm_loads_and_stores():
    wanted = {"ldr\tq0, [x1, #16]": "loads", "ldp\tq0, q1, [sp, #32]": "stack", "st1\t{ v0.4s }, [x0]": "stores"}
    for line, access in wanted.items():
        assert inner_loops._access(*inner_loops._words("\t" + line)) == access
    assert inner_loops._access(*inner_loops._words("\tfmla\tv0.4s, v1.4s, v2.s[1]")) is None
