"""Find the inner loop of a function in assembly code of LLVM's, and count its instructions."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

_LABEL = re.compile(r"^(\.L\w+):")
_TARGET = re.compile(r"(\.LBB\w+)")
_ALWAYS = re.compile(r"^(jmp|b|ret|retq|br)$")
_JUMP = re.compile(r"^(j\w+|b|b\.\w+|cbn?z|tbn?z)$")
_FMA = re.compile(r"^(vf?n?m(add|sub)\w*|fml[as]|fmadd)$")
_CALL = re.compile(r"^(callq?|bl|blr)$")
_MEMORY_ARM = re.compile(r"^(ld|st)\w+$")


@dataclass
class Block:
    """Instructions that follow each other, up to a jump."""

    label: str | None
    lines: list[int] = field(default_factory=list)  # numbers of the lines with instructions
    next: list[int] = field(default_factory=list)  # numbers of the blocks that may follow


def measure(assembly: str, function: str) -> dict[str, int]:
    """Return the counts of `machine_code.COUNTS` for the inner loop of a function; zeros where it has no loop."""
    lines = assembly.splitlines()
    blocks = blocks_of(lines, *_range(lines, function))
    counts = [(count(lines, blocks, loop), loop) for loop in inner_loops(blocks)]
    if not counts:
        return dict.fromkeys(("fmas", "loads", "stores", "stack", "calls", "bytes"), 0)
    most = max(_work(found) for found, _ in counts)
    # with fewer than 8 it is that of narrow strips; an optimizer's may have more, between square roots and quotients
    shares = [
        (_work(found) / found["instructions"], found["instructions"], i)
        for i, (found, _) in enumerate(counts)
        if _work(found) >= min(most, 8)
    ]
    best, loop = counts[max(shares)[2]]
    del best["instructions"]
    return {**best, "bytes": n_bytes(lines, [blocks[block] for block in loop])}


def _work(counts: dict[str, int]) -> int:
    """FMAs, or calls in their place."""
    return counts["fmas"] + counts["calls"]


def _range(lines: list[str], function: str) -> tuple[int, int]:
    """The lines of a function: from the label with its name, of which Numba makes a part of a long one, to its end."""
    pattern = re.compile(rf"^_\w*?{len(function)}{function}B\w*:")
    start = next(i for i, line in enumerate(lines) if pattern.match(line))
    end = next(i for i in range(start, len(lines)) if ".cfi_endproc" in lines[i] or lines[i].startswith(".Lfunc_end"))
    return start + 1, end


def _words(line: str) -> tuple[str, str]:
    """An instruction and its operands."""
    name, _, operands = line.split("#")[0].split("//")[0].strip().partition("\t")
    return name.strip(), operands.strip()


def blocks_of(lines: list[str], start: int, end: int) -> list[Block]:
    """Return the blocks of a function and which may follow which."""
    blocks = [Block(None)]
    for i in range(start, end):
        if label := _LABEL.match(lines[i]):
            blocks.append(Block(label.group(1)))
        elif lines[i].startswith("\t") and not lines[i].lstrip().startswith((".", "#", "//")):
            blocks[-1].lines.append(i)
            if _JUMP.match(_words(lines[i])[0]):
                blocks.append(Block(None))
    at = {block.label: i for i, block in enumerate(blocks) if block.label}
    for i, block in enumerate(blocks):
        name, operands = _words(lines[block.lines[-1]]) if block.lines else ("", "")
        if _JUMP.match(name) and (target := _TARGET.search(operands)) and target.group(1) in at:
            block.next.append(at[target.group(1)])
        if not _ALWAYS.match(name) and i + 1 < len(blocks):
            block.next.append(i + 1)
    return blocks


def inner_loops(blocks: list[Block]) -> list[set[int]]:
    """Return the blocks of every loop that has no other loop within it."""
    dominators = _dominators(blocks)
    before: dict[int, list[int]] = {i: [] for i in range(len(blocks))}
    for i, block in enumerate(blocks):
        for j in block.next:
            before[j].append(i)
    loops: dict[int, set[int]] = {}
    for i in dominators:
        for header in blocks[i].next:
            if header in dominators[i]:  # an edge back: the loop is what leads to it without passing the header
                body, todo = loops.setdefault(header, {header}), [i]
                while todo:
                    if (block := todo.pop()) not in body:
                        body.add(block)
                        todo += [other for other in before[block] if other in dominators]
    return [body for header, body in loops.items() if not any(other in body for other in loops if other != header)]


def _dominators(blocks: list[Block]) -> dict[int, set[int]]:
    """For each block that can be reached, the blocks that every path to it passes."""
    reached, todo = set(), [0]
    while todo:
        if (i := todo.pop()) not in reached:
            reached.add(i)
            todo += blocks[i].next
    before: dict[int, set[int]] = {i: set() for i in reached}
    for i in reached:
        for j in blocks[i].next:
            before[j].add(i)
    dominators = {i: set(reached) for i in reached}
    dominators[0] = {0}
    changed = True
    while changed:
        changed = False
        for i in sorted(reached - {0}):
            now = set.intersection(*(dominators[j] for j in before[i])) | {i}
            changed |= now != dominators[i]
            dominators[i] = now
    return dominators


def count(lines: list[str], blocks: list[Block], loop: set[int]) -> dict[str, int]:
    """Return what a loop's instructions are: FMAs, accesses of memory and of the stack, calls."""
    counts = dict.fromkeys(("fmas", "loads", "stores", "stack", "calls", "instructions"), 0)
    for block in loop:
        for i in blocks[block].lines:
            name, operands = _words(lines[i])
            counts["instructions"] += 1
            counts["fmas"] += bool(_FMA.match(name))
            counts["calls"] += bool(_CALL.match(name))
            if access := _access(name, operands):
                counts[access] += 1
    return counts


def _access(name: str, operands: str) -> str | None:
    """Whether an instruction loads, stores, or accesses the stack."""
    if "[" in operands:  # ARM: ldr q0, [x1, #16]
        if not _MEMORY_ARM.match(name):
            return None
        return "stack" if "[sp" in operands else "stores" if name.startswith("st") else "loads"
    # x86, AT&T: the last operand is written; lea accesses nothing
    if "(" not in operands or name.startswith(("lea", "prefetch", "nop")) or _JUMP.match(name):
        return None
    if "(%rsp" in operands or "(%rbp)" in operands:
        return "stack"
    return "stores" if operands.endswith((")", "}")) and not name.startswith(("cmp", "test", "bt")) else "loads"


def n_bytes(lines: list[str], blocks: list[Block]) -> int:
    """Return the bytes of some blocks, as the assembler makes them; 0 on formats of files other than ELF."""
    from llvmlite import binding
    from numba.core.registry import cpu_target

    machine = cpu_target.target_context.codegen()._tm
    if "-darwin" in machine.triple or "-windows" in machine.triple:
        return 0
    marked, parts = list(lines), []
    for n, block in enumerate(block for block in blocks if block.lines):
        first, last = block.lines[0], block.lines[-1]
        marked[first] = f".Lfrom{n}:\n{marked[first]}"
        marked[last] = f"{marked[last]}\n.Lto{n}:"
        parts.append(f"\t.long\t.Lto{n}-.Lfrom{n}")
    text = "\n".join([*marked, '\t.section\tloop_sizes,"",@progbits', *parts, ""])
    binding.initialize_native_asmparser()
    # Numba's symbols end in characters that a string of LLVM code has to escape
    escaped = "\n".join(f'module asm "{_escaped(line)}"' for line in text.splitlines())
    module = binding.parse_assembly(f'target triple = "{machine.triple}"\n{escaped}\n')
    for section in binding.ObjectFileRef.from_data(machine.emit_object(module)).sections():
        if section.name() in ("loop_sizes", b"loop_sizes"):
            data = bytes(section.data())
            return sum(struct.unpack(f"<{len(data) // 4}I", data))
    raise ValueError("the assembler made no section of sizes")


def _escaped(line: str) -> str:
    return "".join(c if 32 <= ord(c) < 127 and c not in '"\\' else f"\\{ord(c):02X}" for c in line)
