"""The library through ctypes, as another language calls it: argument 1 is the shared library. Prints TAP."""
import ctypes
import json
import os
import sys

library = ctypes.CDLL(sys.argv[1])
library.trawl_message.restype = ctypes.c_char_p
for name in ("trawl_encoder_dims", "trawl_model_width", "trawl_tokenizer_vocabulary"):
    getattr(library, name).restype = ctypes.c_size_t
GOLDEN = os.environ.get("TRAWL_GOLDEN") or os.path.join(os.environ.get("TRAWL_SOURCE", "."), "test", "golden")


class EncoderOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("precision", ctypes.c_char_p), ("pooling", ctypes.c_char_p),
                ("attention", ctypes.c_char_p), ("normalize", ctypes.c_char_p)]  # what this caller knows of


class NotInstalled(Exception):
    pass


def check(status):
    if status:
        raise RuntimeError(library.trawl_message().decode())


def open_model(name):
    handle = ctypes.c_void_p()
    status = library.trawl_model_open(ctypes.byref(handle), name)
    if status == 7:
        raise NotInstalled(library.trawl_message().decode())
    check(status)
    return handle


def a_missing_model_is_named():
    handle = ctypes.c_void_p()
    assert library.trawl_model_open(ctypes.byref(handle), b"no-such-model") == 7  # NOT_FOUND
    assert b"no-such-model" in library.trawl_message()
    assert not handle


def a_model_says_what_it_is():
    handle = open_model(os.path.join(GOLDEN, "tiny", "llama", "model").encode())
    fingerprint = ctypes.create_string_buffer(17)
    library.trawl_model_family.restype = ctypes.c_char_p
    library.trawl_model_family.argtypes = [ctypes.c_void_p]
    assert library.trawl_model_family(handle) == b"llama"
    assert library.trawl_model_width(handle) == 32
    check(library.trawl_model_fingerprint(handle, fingerprint))
    assert len(fingerprint.value) == 16
    library.trawl_model_close(handle)


def texts_become_the_references_ids():
    library.trawl_model_close(open_model(b"minilm"))
    handle, n = ctypes.c_void_p(), ctypes.c_size_t()
    check(library.trawl_tokenizer_open(ctypes.byref(handle), b"minilm"))
    with open(os.path.join(GOLDEN, "forward", "minilm", "texts.jsonl"), encoding="utf-8") as lines:
        line = json.loads(lines.readline())
    ids = (ctypes.c_uint32 * 4096)()
    text = line["text"].encode()
    check(library.trawl_tokenizer_encode(handle, ids, ctypes.byref(n), ctypes.c_size_t(4096), text,
                                         ctypes.c_size_t(len(text)), ctypes.c_bool(False), ctypes.c_bool(True)))
    assert list(ids[:n.value]) == line["ids"]
    library.trawl_tokenizer_close(handle)


def texts_become_vectors():
    library.trawl_model_close(open_model(b"minilm"))
    handle = ctypes.c_void_p()
    options = EncoderOptions(size=ctypes.sizeof(EncoderOptions), precision=b"f32")
    check(library.trawl_encoder_open(ctypes.byref(handle), b"minilm", ctypes.byref(options)))
    dims = library.trawl_encoder_dims(handle)
    texts = ["statins lower cholesterol", "", "cholesterol is lowered by statins", "a violin concerto"]
    array = (ctypes.c_char_p * len(texts))(*[text.encode() for text in texts])
    vectors = (ctypes.c_float * (dims * len(texts)))()
    check(library.trawl_encoder_encode(handle, vectors, array, None, ctypes.c_size_t(len(texts)), ctypes.c_bool(False)))
    rows = [vectors[i * dims:(i + 1) * dims] for i in range(len(texts))]
    dot = [[sum(a * b for a, b in zip(x, y)) for y in rows] for x in rows]
    assert abs(dot[0][0] - 1) < 1e-5 and dot[1][1] == 0
    assert dot[0][2] > 0.8 > 0.2 > dot[0][3]
    library.trawl_encoder_close(handle)


TESTS = [a_missing_model_is_named, a_model_says_what_it_is, texts_become_the_references_ids, texts_become_vectors]
print(f"1..{len(TESTS)}")
failed = 0
for number, test in enumerate(TESTS, 1):
    try:
        test()
        print(f"ok {number} - {test.__name__}")
    except NotInstalled as reason:
        print(f"ok {number} - {test.__name__} # SKIP {reason}")
    except (AssertionError, RuntimeError) as reason:
        failed += 1
        print(f"not ok {number} - {test.__name__}\n# {reason!r}")
sys.exit(failed > 0)
