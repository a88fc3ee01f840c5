#!/usr/bin/env python3
"""A second implementation of the envelopes, for vectors that do not come from the program they test.

Written from docs/format.md alone, on argon2-cffi and cryptography:

    python3 -m venv /somewhere/outside && . /somewhere/outside/bin/activate && pip install argon2-cffi cryptography
    python tests/golden/make.py write              # v3.json, v3-answers.json, and the vectors of our own in v2.json
    python tests/golden/make.py go FOLDER          # v1.json and the Go package's vectors in v2.json, from its databases
    python tests/golden/make.py verify [FILE ...]  # opens vectors: all of tests/golden, or FILE; `-` is stdin
    cargo run -p vaultstore-core --example golden -- 500 | python tests/golden/make.py verify -

Everything it writes is a pure function of this file, so `write` twice gives the same bytes.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import re
import sqlite3
import struct
import sys

from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

HERE = pathlib.Path(__file__).parent
DEFAULT, LIGHTWEIGHT, HIGH_SECURITY = (65536, 3, 4), (32768, 2, 2), (131072, 4, 4)
CHEAP = (8, 1, 1)
SUITE_PLAIN, SUITE_PADME = 1, 2


def argon2id(password, salt, cost, length=32):
    m, t, p = cost
    return hash_secret_raw(password, salt, t, m, p, length, Type.ID, 19)


# --- v3: docs/format.md §3


def v3_subkeys(password, salt, cost, suite, nonce):
    master = argon2id(password, salt, cost)
    okm = HKDFExpand(SHA256(), 76, b"vaultstore/v3" + bytes([suite]) + nonce).derive(master)
    return okm[:32], okm[32:64], okm[64:]


def v3_aad(header, record_id, token):
    """`token` is None for what versions before the first release bound."""
    bound = [record_id] if token is None else [record_id, token]
    return header + b"".join(struct.pack(">I", len(text.encode())) + text.encode() for text in bound)


def padme(length):
    if length < 2:
        return length
    exponent = length.bit_length() - 1
    zeros = exponent - exponent.bit_length()
    return (length + (1 << zeros) - 1) >> zeros << zeros


def pad(value):
    plaintext = struct.pack(">I", len(value)) + value
    return plaintext.ljust(padme(len(plaintext)), b"\0")


def seal_v3(value, password, record_id, token, cost, salt, nonce, suite):
    plaintext = pad(value) if suite == SUITE_PADME else value
    return encrypt_v3(plaintext, password, record_id, token, cost, salt, nonce, suite)


def encrypt_v3(plaintext, password, record_id, token, cost, salt, nonce, suite):
    commitment, key, iv = v3_subkeys(password, salt, cost, suite, nonce)
    m, t, p = cost
    header = struct.pack(">BIIB", suite, m, t, p) + salt + nonce + commitment
    sealed = AESGCM(key).encrypt(iv, plaintext, v3_aad(header, record_id, token))
    check = hashlib.sha256(header + sealed).digest()[:6]
    return "v3:" + base64.urlsafe_b64encode(header + check + sealed).rstrip(b"=").decode()


class Answer(Exception):
    """What opening answers where it gives no value."""


def open_v3(text, password, record_id, token):
    """docs/format.md §3.6, step by step, without limits of a reader's own (step 4)."""
    body = text.removeprefix("v3:")
    if not re.fullmatch(r"[A-Za-z0-9_-]*", body) or len(body) % 4 == 1:
        raise Answer("malformed")
    raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != body or len(raw) < 112:
        raise Answer("malformed")
    header, check, sealed = raw[:90], raw[90:96], raw[96:]
    if hashlib.sha256(header + sealed).digest()[:6] != check:
        raise Answer("damaged")
    suite, m, t, p = struct.unpack(">BIIB", header[:10])
    if suite not in (SUITE_PLAIN, SUITE_PADME) or t < 1 or p < 1 or m < 8 * p:
        raise Answer("malformed")
    salt, nonce, stored = header[10:26], header[26:58], header[58:]
    commitment, key, iv = v3_subkeys(password, salt, (m, t, p), suite, nonce)
    if not hmac.compare_digest(commitment, stored):
        raise Answer("wrong password")
    try:
        plaintext = AESGCM(key).decrypt(iv, sealed, v3_aad(header, record_id, token))
    except InvalidTag:
        raise Answer("malformed" if v3_is_of_before(key, iv, header, sealed, record_id) else "damaged") from None
    if suite == SUITE_PLAIN:
        return plaintext
    if len(plaintext) < 4 or len(plaintext) < 4 + (length := struct.unpack(">I", plaintext[:4])[0]):
        raise Answer("damaged")
    value = plaintext[4 : 4 + length]
    if pad(value) != plaintext:
        raise Answer("damaged")
    return value


def v3_is_of_before(key, iv, header, sealed, record_id):
    try:
        AESGCM(key).decrypt(iv, sealed, v3_aad(header, record_id, None))
        return True
    except InvalidTag:
        return False


# --- v2: docs/format.md §4


def seal_v2(value, password, cost, salt, iv, key_len=32):
    key = argon2id(password, salt, cost, key_len)
    raw = salt + iv + AESGCM(key).encrypt(iv, value, None)
    return "v2:" + base64.urlsafe_b64encode(raw).decode()


def open_v2(text, password, cost, key_len, salt_len):
    raw = base64.urlsafe_b64decode(text.removeprefix("v2:").replace("\r", "").replace("\n", ""))
    salt, iv, sealed = raw[:salt_len], raw[salt_len : salt_len + 12], raw[salt_len + 12 :]
    return AESGCM(argon2id(password, salt, cost, key_len)).decrypt(iv, sealed, None)


# --- v1: docs/format.md §5


def v1_pad(password):
    def hexadecimal(name):
        return lambda data: hashlib.new(name, data).hexdigest().encode()

    md5, sha1, sha256 = map(hexadecimal, ("md5", "sha1", "sha256"))
    p1 = sha256(md5(password) * 4)
    p2 = sha1(p1) * 3
    p3 = sha1(p2) + md5(p2) + sha1(p2)
    p4 = sha256(p3)
    return sha1(p4) + sha256(md5(p4)) + sha256(sha1(p4)) + md5(p4)


def open_v1(text, password):
    key = v1_pad(password)
    raw = base64.urlsafe_b64decode(text)
    content = base64.b64decode(bytes(b ^ key[i % 200] for i, b in enumerate(raw)), validate=True)
    length, rest = content.split(b"_", 1)
    return base64.urlsafe_b64decode(rest[: int(length)])


# --- vectors


def data(hexadecimal_bytes, times=1):
    """Bytes as vectors state them: a piece, and how often it is repeated."""
    return {"hex": hexadecimal_bytes.hex(), "times": times}


def undata(stated):
    return bytes.fromhex(stated["hex"]) * stated["times"]


def drawn(name, length):
    """Stands for random bytes: a function of the vector's name, so that files can be made again."""
    return hashlib.shake_256(name.encode()).digest(length)


def v3_vector(name, value, cost=CHEAP, password=b"correct horse", record_id="id-1", suite=SUITE_PLAIN, salt=None, token="tk_1"):
    salt = salt or drawn("salt", 16)
    nonce = drawn("nonce/" + name, 32)
    stated = value if isinstance(value, dict) else data(value)
    return {
        "name": name,
        "origin": "python",
        "format": "v3",
        "id": record_id,
        "token": token,
        "password_hex": password.hex(),
        "value": stated,
        "cost": cost_text(cost),
        "salt_hex": salt.hex(),
        "nonce_hex": nonce.hex(),
        "padding": "padme" if suite == SUITE_PADME else "none",
        "text": seal_v3(undata(stated), password, record_id, token, cost, salt, nonce, suite),
    }


def v3_vectors():
    both = [("plain", SUITE_PLAIN), ("padme", SUITE_PADME)]
    for suffix, suite in both:
        yield v3_vector(f"default cost, {suffix}", b"the default", DEFAULT, suite=suite)
        yield v3_vector(f"empty value, {suffix}", b"", suite=suite)
        yield v3_vector(f"value of 64 KiB, {suffix}", data(bytes(range(256)), 256), suite=suite)
        yield v3_vector(f"non-ASCII id, {suffix}", b"value", record_id="ключ/🔑/é", suite=suite)
        for length in (1, 2, 3, 4, 5, 11, 12, 13, 27, 28, 29, 255, 256, 1000):
            value = drawn(f"value {length}", length)
            yield v3_vector(f"value of {length} bytes, {suffix}", value, suite=suite)
    yield v3_vector("lightweight cost", b"a preset", LIGHTWEIGHT)
    yield v3_vector("high_security cost", b"a preset", HIGH_SECURITY)
    yield v3_vector("another valid cost", b"cost", (128, 5, 16))
    yield v3_vector("empty password", b"value", password=b"")
    yield v3_vector("password é as one code point", b"value", password="é".encode())
    yield v3_vector("password é as two code points", b"value", password="e\u0301".encode())
    yield v3_vector("password that is not UTF-8", b"value", password=bytes([0xFF, 0, 0xFE, 10]))
    yield v3_vector("password of 1000 bytes", b"value", password=b"x" * 1000)
    yield v3_vector("empty id", b"value", record_id="")
    yield v3_vector("id of 300 bytes", b"value", record_id="i" * 300)
    yield v3_vector("non-ASCII token", b"value", token="ключ/🔑/é")
    yield v3_vector("empty token", b"value", token="")
    yield v3_vector("token of 255 bytes", b"value", token="t" * 255)
    yield v3_vector("another salt", b"value", salt=bytes(16))


# --- every answer to a v3


def v3_answers():
    """50 records, and what opening each of them answers: docs/format.md §2."""
    drawn_nonce = lambda name: drawn("nonce/" + name, 32)
    password, salt, token, record_id = b"correct horse", drawn("salt", 16), "tk_1", "id-1"

    def sealed(name, value=b"a value", suite=SUITE_PLAIN, **more):
        of = {"password": password, "record_id": record_id, "token": token, "cost": CHEAP, "salt": salt} | more
        return seal_v3(value, of["password"], of["record_id"], of["token"], of["cost"], of["salt"], drawn_nonce(name), suite)

    def row(name, text, answer, why, value=None, **asked):
        of = {"id": record_id, "token": token, "password_hex": password.hex()} | asked
        stated = {"value": data(value)} if answer == "opened" else {}
        return {"name": name, "origin": "python", "format": "v3", **of, "answer": answer, "why": why, **stated, "text": text}

    def raw(text):
        return bytearray(base64.urlsafe_b64decode(text[3:] + "=" * (-len(text[3:]) % 4)))

    def text_of(content):
        return "v3:" + base64.urlsafe_b64encode(bytes(content)).rstrip(b"=").decode()

    def forged(name, change, suite=SUITE_PLAIN):
        """Changed by whoever can write, under a check that holds."""
        content = raw(sealed(name, suite=suite))
        change(content)
        content[90:96] = hashlib.sha256(content[:90] + content[96:]).digest()[:6]
        return text_of(content)

    def flip(at, bit=1):
        def change(content):
            content[at] ^= bit
        return change

    def put(at, *numbers):
        def change(content):
            content[at : at + len(numbers)] = bytes(numbers)
        return change

    both = [("plain", SUITE_PLAIN), ("padme", SUITE_PADME)]
    for suffix, suite in both:
        for kind, value in [("empty", b""), ("short", b"v"), ("of 300 bytes", bytes(range(256)) + bytes(44))]:
            name = f"opened, {kind}, {suffix}"
            yield row(name, sealed(name, value, suite), "opened", "everything fits", value)
        name = f"another password, {suffix}"
        yield row(name, sealed(name, suite=suite, password=b"another"), "wrong password", "the commitment differs")
        name = f"another id, {suffix}"
        yield row(name, sealed(name, suite=suite, record_id="id-2"), "damaged", "it belongs to another id")
        name = f"another token, {suffix}"
        yield row(name, sealed(name, suite=suite, token="tk_2"), "damaged", "it belongs to another token")
        name = f"no token, {suffix}"
        yield row(name, sealed(name, suite=suite, token=None), "malformed", "a version before the first release bound no token")
        name = f"a flipped bit of the ciphertext, {suffix}"
        content = raw(sealed(name, suite=suite))
        content[97] ^= 1
        yield row(name, text_of(content), "damaged", "the check differs")
        name = f"a flipped bit of the ciphertext and a forged check, {suffix}"
        yield row(name, forged(name, flip(97), suite), "damaged", "the tag does not fit")
    for name, asked in [
        ("ids and tokens that run together", {"id": "id-1tk", "token": "_1"}),
        ("id and token in each other's place", {"id": token, "token": record_id}),
        ("no token asked for", {"token": ""}),
        ("a token in another case", {"token": "TK_1"}),
        ("a token with a space behind it", {"token": "tk_1 "}),
    ]:
        yield row(name, sealed(name), "damaged", "it belongs to another record", **asked)
    name = "a token that is not normalized"
    yield row(name, sealed(name, token="é"), "damaged", "bytes are compared", token="e\u0301")
    name = "no token, for another id"
    yield row(name, sealed(name, token=None, record_id="id-2"), "damaged", "neither form fits")
    name = "no token, with another password"
    yield row(name, sealed(name, token=None, password=b"another"), "wrong password", "the commitment comes first")
    fields = [("suite", 0, 3), ("salt", 10, 1), ("nonce", 26, 1), ("commitment", 58, 1), ("last byte of the commitment", 89, 128)]
    for field, at, bit in fields:
        name = f"a forged {field}"
        yield row(name, forged(name, flip(at, bit)), "wrong password", "another key's commitment")
    name = "padding that is not zero"
    plaintext = struct.pack(">I", 1) + b"v\x01"
    text = encrypt_v3(plaintext, password, record_id, token, CHEAP, salt, drawn_nonce(name), SUITE_PADME)
    yield row(name, text, "damaged", "docs/format.md §3.6, step 8")
    name = "a forged tag"
    yield row(name, forged(name, flip(-1)), "damaged", "the tag does not fit")
    for field, at in [("suite", 0), ("m", 4), ("t", 8), ("p", 9), ("salt", 25), ("check", 95), ("tag", -1)]:
        name = f"a flipped bit of the {field}"
        content = raw(sealed(name))
        content[at] ^= 1
        yield row(name, text_of(content), "damaged", "the check differs, whatever else holds")
    for name, change in [
        ("an unknown suite", put(0, 0x7F)),
        ("no pass", put(5, 0, 0, 0, 0)),
        ("no lane", put(9, 0)),
        ("too little memory for its lanes", put(9, 2)),
    ]:
        yield row(name, forged(name, change), "malformed", "Argon2id is not defined for the header, or its suite not known")
    for name, change in [
        ("padding behind the text", lambda text: text + "="),
        ("a line feed behind the text", lambda text: text + "\n"),
        ("the standard alphabet", lambda text: text[:20] + "+" + text[21:]),
        ("unused bits set", lambda text: raise_last(text + "=", 3)[:-1]),
        ("cut to 111 bytes", lambda text: text_of(raw(text)[:111])),
    ]:
        # 112 + 1 bytes: two unused bits
        yield row(name, change(sealed(name, b"v")), "malformed", "docs/format.md §3.1")
    name = "cut to 112 bytes"
    yield row(name, text_of(raw(sealed(name))[:112]), "damaged", "the check differs")


def v2_vector(name, value, cost=CHEAP, password=b"correct horse", key_len=32, salt_len=16, change=lambda text: text):
    salt, iv = drawn("salt/" + name, salt_len), drawn("iv/" + name, 12)
    stated = value if isinstance(value, dict) else data(value)
    text = seal_v2(undata(stated), password, cost, salt, iv, key_len)
    return {
        "name": name,
        "origin": "python",
        "format": "v2",
        "id": "id-1",
        "password_hex": password.hex(),
        "value": stated,
        "cost": cost_text(cost, key_len, salt_len),
        "salt_hex": salt.hex(),
        "iv_hex": iv.hex(),
        "canonical": change(text) == text,
        "text": change(text),
    }


def v2_vectors():
    yield v2_vector("default cost", b"the default", DEFAULT)
    yield v2_vector("lightweight cost", b"a preset", LIGHTWEIGHT)
    yield v2_vector("high_security cost", b"a preset", HIGH_SECURITY)
    yield v2_vector("empty value", b"")
    yield v2_vector("empty password", b"value", password=b"")
    yield v2_vector("password that is not UTF-8", b"value", password=bytes([0xFF, 0, 0xFE, 10]))
    yield v2_vector("value of 64 KiB", data(bytes(range(256)), 256))
    for length in range(1, 7):
        yield v2_vector(f"value of {length} bytes", bytes(range(length)))
    for key_len in (16, 24):
        yield v2_vector(f"key of {key_len} bytes", b"value", key_len=key_len)
    for salt_len in (8, 12, 17, 32, 64):
        yield v2_vector(f"salt of {salt_len} bytes", b"value", salt_len=salt_len)
    lines = lambda end: lambda text: text[:3] + end.join(text[i : i + 20] for i in range(3, len(text), 20)) + end
    yield v2_vector("lines ended by CR LF", b"a value over lines", change=lines("\r\n"))
    yield v2_vector("lines ended by LF", b"a value over lines", change=lines("\n"))
    # 44 + 1 bytes leave no unused bits, 44 + 2 leave four, 44 + 3 leave two
    yield v2_vector("four unused bits set", bytes(2), change=lambda text: raise_last(text, 15))
    yield v2_vector("two unused bits set", bytes(3), change=lambda text: raise_last(text, 3))


def raise_last(text, unused):
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    body = text.rstrip("=")
    assert len(text) - len(body) == {15: 2, 3: 1}[unused]
    return body[:-1] + alphabet[alphabet.index(body[-1]) | unused] + text[len(body) :]


def cost_text(cost, key_len=32, salt_len=16):
    m, t, p = cost
    key = "" if key_len == 32 else f",key={key_len}"
    return f"t={t},m={m},p={p}" + key + ("" if salt_len == 16 else f",salt={salt_len}")


def parse_cost(text):
    fields = {name: int(number) for name, number in (field.split("=") for field in text.split(","))}
    return (fields["m"], fields["t"], fields["p"]), fields.get("key", 32), fields.get("salt", 16)


def go_vectors(folder):
    """Everything that the Go package's databases hold, as its manifest states it."""
    databases = {}
    for row in json.loads((folder / "manifest.json").read_text()):
        if row["db"] not in databases:
            address = f"file:{folder / row['db']}?mode=ro&immutable=1"
            with sqlite3.connect(address, uri=True) as connection:
                databases[row["db"]] = dict(connection.execute("select id, vault_value from vault"))
        text = databases[row["db"]][row["id"]]
        assert hashlib.sha256(text.encode()).hexdigest() == row["stored_sha256"]
        vector = {
            "name": row["token"],
            "origin": "go",
            "format": row["format"],
            "id": row["id"],
            "password_hex": row["password"].encode().hex(),
            "value": shortest(base64.b64decode(row["plaintext_base64"])),
        }
        if row["format"] == "v2":
            config = row["config"]
            cost = (config["MKiB"], config["T"], config["P"])
            vector |= {"cost": cost_text(cost, config["KeyLen"], config["Salt"]), "canonical": True}
        yield vector | {"text": text}


def shortest(value):
    for length in range(1, min(len(value), 300)):
        if len(value) % length == 0 and value[:length] * (len(value) // length) == value:
            return data(value[:length], len(value) // length)
    return data(value)


# --- the command


def opened(vector):
    text, password = vector["text"], bytes.fromhex(vector["password_hex"])
    match vector["format"]:
        case "v1":
            return open_v1(text, password)
        case "v2":
            return open_v2(text, password, *parse_cost(vector["cost"]))
        case "v3":
            return open_v3(text, password, vector["id"], vector["token"])


def verify(vectors, source):
    for vector in vectors:
        expected = vector.get("answer", "opened")
        try:
            value, answer = opened(vector), "opened"
        except Answer as other:
            value, answer = None, str(other)
        except (AssertionError, InvalidTag) as error:
            sys.exit(f"{source}: {vector['name']!r} does not open: {error!r}")
        if answer != expected:
            sys.exit(f"{source}: {vector['name']!r} is {answer}, not {expected}")
        if answer == "opened" and value != undata(vector["value"]):
            sys.exit(f"{source}: {vector['name']!r} opens to another value")
    if not vectors:
        sys.exit(f"{source}: no vectors")
    print(f"{source}: {len(vectors)} vectors are answered as they state")


def load(path):
    return json.loads(path.read_text()) if path.exists() else []


def store(name, vectors):
    (HERE / name).write_text(json.dumps(vectors, indent=1, ensure_ascii=False) + "\n")


def main(arguments):
    match arguments:
        case ["write"]:
            store("v3.json", list(v3_vectors()))
            store("v3-answers.json", list(v3_answers()))
            kept = [vector for vector in load(HERE / "v2.json") if vector["origin"] == "go"]
            store("v2.json", kept + list(v2_vectors()))
        case ["go", folder]:
            vectors = list(go_vectors(pathlib.Path(folder)))
            store("v1.json", [vector for vector in vectors if vector["format"] == "v1"])
            own = [vector for vector in load(HERE / "v2.json") if vector["origin"] != "go"]
            store("v2.json", [vector for vector in vectors if vector["format"] == "v2"] + own)
        case ["verify"]:
            for path in sorted(HERE.glob("*.json")):
                verify(load(path), path.name)
        case ["verify", *sources]:
            for source in sources:
                text = sys.stdin.read() if source == "-" else pathlib.Path(source).read_text()
                verify(json.loads(text), source)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
