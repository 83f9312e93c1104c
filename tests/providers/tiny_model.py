"""A language model of 440 KB with random weights, for servers that want a real one: GGUF version 3
(ggml's docs/gguf.md), the architecture of Llama, one layer. What it says is noise.
"""

import random
import struct
from collections.abc import Iterator
from pathlib import Path

WORDS, WIDTH, INNER = 512, 64, 128
_UNSIGNED, _SIGNED, _FLOAT, _TEXT, _LIST = 4, 5, 6, 8, 9
_ALIGNMENT = 32


def write_model(path: Path) -> None:
    names = [b"<unk>", b"<s>", b"</s>", *(f"<0x{byte:02X}>".encode() for byte in range(256))]
    names += [f" w{number}".encode() for number in range(WORDS - len(names))]
    kinds = [2, 3, 3, *[6] * 256, *[1] * (WORDS - 259)]  # unknown, control, byte, normal
    about = [
        _entry("general.architecture", _TEXT, _text(b"llama")),
        *(
            _entry(f"llama.{name}", _UNSIGNED, struct.pack("<I", value))
            for name, value in {
                "context_length": 131072,
                "embedding_length": WIDTH,
                "block_count": 1,
                "feed_forward_length": INNER,
                "attention.head_count": 4,
                "attention.head_count_kv": 4,
                "rope.dimension_count": WIDTH // 4,
            }.items()
        ),
        _entry("llama.attention.layer_norm_rms_epsilon", _FLOAT, struct.pack("<f", 1e-5)),
        _entry("tokenizer.ggml.model", _TEXT, _text(b"llama")),
        _entry("tokenizer.ggml.tokens", _LIST, _list(_TEXT, [_text(name) for name in names])),
        _entry("tokenizer.ggml.scores", _LIST, _list(_FLOAT, [struct.pack("<f", 0.0)] * WORDS)),
        _entry("tokenizer.ggml.token_type", _LIST, _list(_SIGNED, [_number(k) for k in kinds])),
    ]
    tensors = list(_tensors())
    index, offset = b"", 0
    for name, sizes, values in tensors:
        index += _text(name.encode()) + struct.pack("<I", len(sizes))
        index += b"".join(struct.pack("<Q", size) for size in sizes) + struct.pack("<IQ", 0, offset)
        offset += len(_padded(values))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(about)) + b"".join(about) + index
    path.write_bytes(_padded(head) + b"".join(_padded(values) for _, _, values in tensors))


def _tensors() -> Iterator[tuple[str, tuple[int, ...], bytes]]:
    """Name, sizes (the fastest first) and values as float32."""
    chance = random.Random(7)

    def matrix(name: str, *sizes: int) -> tuple[str, tuple[int, ...], bytes]:
        count = sizes[0] * sizes[1]
        return (
            name,
            sizes,
            struct.pack(f"<{count}f", *(chance.gauss(0, 0.05) for _ in range(count))),
        )

    def ones(name: str) -> tuple[str, tuple[int, ...], bytes]:
        return name, (WIDTH,), struct.pack(f"<{WIDTH}f", *[1.0] * WIDTH)

    yield matrix("token_embd.weight", WIDTH, WORDS)
    yield ones("output_norm.weight")
    yield matrix("output.weight", WIDTH, WORDS)
    yield ones("blk.0.attn_norm.weight")
    yield ones("blk.0.ffn_norm.weight")
    for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
        yield matrix(f"blk.0.{part}.weight", WIDTH, WIDTH)
    yield matrix("blk.0.ffn_gate.weight", WIDTH, INNER)
    yield matrix("blk.0.ffn_up.weight", WIDTH, INNER)
    yield matrix("blk.0.ffn_down.weight", INNER, WIDTH)


def _text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def _number(value: int) -> bytes:
    return struct.pack("<i", value)


def _list(kind: int, values: list[bytes]) -> bytes:
    return struct.pack("<IQ", kind, len(values)) + b"".join(values)


def _entry(name: str, kind: int, value: bytes) -> bytes:
    return _text(name.encode()) + struct.pack("<I", kind) + value


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % _ALIGNMENT)
