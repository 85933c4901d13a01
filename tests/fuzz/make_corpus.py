"""Makes the inputs that the fuzzer starts from, out of the reference data: make_corpus.py DIR"""
import json
import struct
import sys
import zipfile
from pathlib import Path

data = Path(__file__).resolve().parent.parent / "data"
out = Path(sys.argv[1])


def write(target, name, content):
    folder = out / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def varint(value):
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(parts) + bytes([value])


def field(number, content):
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def piece(text, kind, score):
    return field(1, field(1, text.encode()) + varint(2 << 3 | 5) + struct.pack("<f", score) + field(3, kind))


for file in sorted([*(data / "pytorch").glob("*.pt"), *(data / "torchscript").glob("*.pt")]):
    if file.stat().st_size < 8192:
        write("fuzz_pytorch_file", file.name, file.read_bytes())
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            for member in archive.namelist():
                if member.endswith("data.pkl"):
                    write("fuzz_pickle", file.name, archive.read(member))

for file in data.glob("**/*.safetensors"):
    content = file.read_bytes()
    if len(content) < 8192:
        write("fuzz_safetensors", f"{file.parent.name}-{file.name}", content)

for target in ("fuzz_clip_tokenizer", "fuzz_wordpiece_tokenizer"):
    for index, row in enumerate(json.loads((data / "text/tokenizers.json").read_text())["rows"]):
        write(target, f"{index:03}", row["text"].encode("utf-8", "surrogatepass")[:256])

# A small model: 256 trie units in which "A" becomes "a", pieces of every kind.
units = [0x80000000] * 1024
units[0] = 256 << 10
units[256 ^ ord("A")] = ((256 ^ ord("A") ^ 512) << 10) | 0x100 | ord("A")
units[512] = 0x80000000
charsmap = struct.pack("<I", 4 * len(units)) + struct.pack(f"<{len(units)}I", *units) + b"a\0"
pieces = [("<pad>", 3, 0), ("</s>", 3, 0), ("<unk>", 2, 0), ("\u2581", 1, -1), ("a", 1, -2), ("b", 1, -2),
          ("ab", 1, -5), ("ba", 4, 0), ("abab", 5, 1)]
body = b"".join(piece(*p) for p in pieces) + field(2, field(3, 1))
write("fuzz_sentencepiece", "plain", body + field(3, b""))
write("fuzz_sentencepiece", "settings", body + field(3, field(3, 0) + field(4, 0) + field(5, 0)))
write("fuzz_sentencepiece", "charsmap", body + field(3, field(2, charsmap)))
