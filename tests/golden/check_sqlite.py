"""Makes a vault with the command and reads it without: SQLite's own library, another Argon2id, another AES-GCM.

    check_sqlite.py BINARY

A vault that `init --format v2` makes is one that a program of the Go package opens: its tables, its times, v2 in every
row, also after an update and a rekey. The script fails when anything is not so.
"""

import base64
import os
import re
import sqlite3
import subprocess
import sys
import tempfile

from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# The least cost that the command takes for new records.
T, M_KIB, P = 2, 19456, 1
NEVER = "9999-12-31 23:59:59"
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
VALUES = {
    "empty": b"",
    "text": "grüße 🔑".encode(),
    "binary": bytes(range(256)),
    "long": os.urandom(100_000),
}


def open_v2(text: str, password: bytes) -> bytes:
    """docs/format.md, section 4."""
    assert text.startswith("v2:"), text[:10]
    body = base64.urlsafe_b64decode(text[3:])
    salt, iv, sealed = body[:16], body[16:28], body[28:]
    key = hash_secret_raw(password, salt, T, M_KIB, P, 32, Type.ID)
    return AESGCM(key).decrypt(iv, sealed, None)


def main(binary: str) -> None:
    with tempfile.TemporaryDirectory() as folder:

        def file(name: str, content: bytes) -> str:
            path = os.path.join(folder, name)
            with open(path, "wb") as opened:
                opened.write(content)
            return path

        path = os.path.join(folder, "vault.sqlite")
        passwords = {name: file(name, name.encode()) for name in ("old", "other", "new")}

        def run(*arguments: str) -> None:
            subprocess.run([binary, *arguments, "--vault", f"sqlite:{path}"], check=True, stdout=subprocess.DEVNULL)

        run("init", "--format", "v2", "--kdf", f"t={T},m={M_KIB},p={P}")
        expected = {}
        for password in ("old", "other"):
            for name, value in VALUES.items():
                token = f"{password}-{name}"
                source = file("value", value)
                run("create", "--token", token, "--password-file", passwords[password], "--value-file", source)
                expected[token] = (password, value)
        source = file("value", b"updated")
        run("update", "old-text", "--password-file", passwords["old"], "--value-file", source)
        expected["old-text"] = ("old", b"updated")
        run("delete", "other-empty")
        run("rekey", "--old-password-file", passwords["old"], "--new-password-file", passwords["new"])
        expected = {
            token: ("new" if password == "old" else password, value)
            for token, (password, value) in expected.items()
        }

        assert sorted(os.listdir(folder)) == ["new", "old", "other", "value", "vault.sqlite"], os.listdir(folder)
        assert os.stat(path).st_mode & 0o777 == 0o600
        database = sqlite3.connect(path)
        columns = "id, vault_token, vault_value, created_at, updated_at, expires_at, soft_deleted_at"
        rows = database.execute(f"SELECT {columns} FROM vault").fetchall()
        assert len(rows) == len(expected)
        for _, token, text, created, updated, expires, soft_deleted in rows:
            password, value = expected[token]
            assert open_v2(text, password.encode()) == value, token
            for time in (created, updated, expires, soft_deleted):
                assert TIME.fullmatch(time), time
            assert expires == NEVER
            assert (soft_deleted == NEVER) == (token != "other-empty"), token
        (integrity,) = database.execute("PRAGMA integrity_check").fetchone()
        assert integrity == "ok", integrity
        print(f"{len(rows)} records of a v2 vault in SQLite read by Python")


if __name__ == "__main__":
    main(sys.argv[1])
