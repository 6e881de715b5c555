"""Damaged files: random changes of bytes, and of the JSON in a safetensors file."""

import copy
import json

TOKENS = [
    b"0", b"-1", b"1e999", b"NaN", b"null", b"[]", b"{}", b'""', b"99999999999999999999", b"true", b"1e9", b"[[[[",
    b'"F64"', b'"BF16"', b'"F8_E4M3"', b'"I64"', b"\\", b"\xff", b"<U100000000", b"|O", b"|V100000000", b"'>M8'",
    b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff",
]  # fmt: skip

VALUES = [
    None, True, 0, -1, 2**31, 10**12, 10**30, 0.5, float("nan"), float("inf"), "", "relu", "mse", "<U100000000", "|O",
    "|V100000000", "<f8", "M8[s]", [], [0], [10**7, 10**7], ["a", "b", "c"], {}, {"a": 1}, "x" * 1000, [[[]]],
]  # fmt: skip


def mutate_bytes(data, rng, head=None):
    """A copy of `data` with one to three changes, most of them in its first `head` bytes."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 3])):
        end = len(data) if head is None or rng.random() < 0.2 else min(head, len(data))
        i = rng.randrange(max(end, 1))
        kind = rng.choice(["flip", "byte", "delete", "insert", "repeat", "overwrite", "cut"])
        if kind == "flip" and data:
            data[i] ^= 1 << rng.randrange(8)
        elif kind == "byte" and data:
            data[i] = rng.randrange(256)
        elif kind == "delete":
            del data[i : i + rng.randrange(1, 40)]
        elif kind == "insert":
            data[i:i] = rng.choice(TOKENS)
        elif kind == "repeat" and data:
            start = rng.randrange(len(data))
            data[i:i] = data[start : start + rng.randrange(60)]
        elif kind == "overwrite":
            token = rng.choice(TOKENS)
            data[i : i + len(token)] = token
        elif kind == "cut":
            del data[i:]
    return bytes(data)


def mutate_safetensors(data, rng):
    """A damaged copy of a safetensors file: its bytes, its header, or the JSON in its metadata."""
    kind = rng.choice(["bytes", "header", "text", "json", "json", "nested"])
    if kind == "bytes":
        return mutate_bytes(data, rng)
    size = int.from_bytes(data[:8], "little")
    header, tensors = data[8 : 8 + size], data[8 + size :]
    if kind == "header":  # the length still fits
        return join(mutate_bytes(header, rng), tensors)
    tree = json.loads(header)
    key = rng.choice(sorted(tree["__metadata__"]))
    if kind == "text":
        text = mutate_bytes(tree["__metadata__"][key].encode(), rng).decode("latin-1")
    elif kind == "nested":
        text = "[" * rng.choice([1000, 100_000]) + "]" * rng.choice([0, 1000, 100_000])
    else:
        inner = [json.loads(tree["__metadata__"][key])]
        for _ in range(rng.choice([1, 1, 2])):
            replace_value(rng.choice([inner, inner, tree]), rng)
        text = json.dumps(inner[0] if inner else None)
    if isinstance(tree.get("__metadata__"), dict):
        tree["__metadata__"][key] = text
    return join(json.dumps(tree).encode(), tensors)


def join(header, tensors):
    return len(header).to_bytes(8, "little") + header + tensors


def replace_value(tree, rng):
    """Replace or remove something in a tree of dicts and lists."""
    while True:
        keys = sorted(tree) if isinstance(tree, dict) else list(range(len(tree)))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(tree[key], (dict, list)) and rng.random() < 0.6:
            tree = tree[key]
            continue
        if rng.random() < 0.15:
            del tree[key]
        else:
            tree[key] = copy.deepcopy(rng.choice(VALUES))
        return
