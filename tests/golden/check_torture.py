"""Reads the vaults that the torture tests leave, without the program that made them.

    check_torture.py FOLDER

Each NAME.sqlite there is a vault in which a rekey from old to new was broken again and again and then completed; NAME.json
is the ledger: what every record was before, and its value. Nothing may open under old, every record that was under old
opens under new and nothing else, and all others are byte for byte what they were, every column of all of them included.
In a scrub-NAME.sqlite a scrub was broken instead: every record is byte for byte what it was, and opens as it did.
The script fails when anything is not so, and when a vault is missing.
"""

import base64
import collections
import datetime
import functools
import json
import pathlib
import sqlite3
import sys

import make
from cryptography.exceptions import InvalidTag

STORES = ("postgres", "redb", "sqlite")
SCRUBBED = "scrub-"
VAULTS = [*STORES, *(SCRUBBED + store for store in STORES)]
NAMES = ("old", "new", "rival", "other")
DAMAGED = "damaged"
WEAK = (8, 1, 1)
NEVER = "9999-12-31 23:59:59"
COLUMNS = ("vault_token", "created_at", "updated_at", "expires_at", "soft_deleted_at")

# One master serves thousands of records.
make.argon2id = functools.cache(make.argon2id)


def opened(text: str, name: str, record_id: str, token: str) -> bytes | None:
    """The value under this password; nothing when it does not open."""
    password = f"the password {name}".encode()
    try:
        if text.startswith("v3:"):
            return make.open_v3(text, password, record_id, token)
        return make.open_v2(text, password, WEAK, 32, 16)
    except (make.Answer, InvalidTag, ValueError):
        return None


def shown(seconds: int | None) -> str:
    if seconds is None:
        return NEVER
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")


def check(vault: pathlib.Path) -> collections.Counter:
    ledger = {due["id"]: due for due in json.loads(vault.with_suffix(".json").read_text())}
    rows = sqlite3.connect(vault).execute(f"SELECT id, vault_value, {', '.join(COLUMNS)} FROM vault").fetchall()
    assert {row[0] for row in rows} == set(ledger) and len(rows) == len(ledger), "the records that there are"
    under = collections.Counter()
    moved = {} if vault.stem.startswith(SCRUBBED) else {"old": "new"}
    for record_id, text, *columns in rows:
        due = ledger[record_id]
        times = [shown(due[column]) for column in COLUMNS[1:]]
        assert columns == [due["token"], *times], f"the columns of {record_id}"
        values = {name: value for name in NAMES if (value := opened(text, name, record_id, due["token"])) is not None}
        owner = moved.get(due["owner"], due["owner"])
        expected = {} if owner == DAMAGED else {owner: base64.b64decode(due["value"])}
        assert values == expected, f"{record_id} of {due['owner']} opens under {list(values)}"
        assert (text == due["envelope"]) == (due["owner"] not in moved), f"the envelope of {record_id}"
        under[owner] += 1
    assert set(under) == {"old", "new", "rival", "other", DAMAGED} - set(moved), under
    return under


def main(folder: str) -> None:
    vaults = sorted(pathlib.Path(folder).glob("*.sqlite"))
    assert [vault.stem for vault in vaults] == sorted(VAULTS), vaults
    for vault in vaults:
        under = check(vault)
        counts = ", ".join(f"{count} {name}" for name, count in sorted(under.items()))
        print(f"{vault.stem}: {under.total()} records read by Python after torture: {counts}")


if __name__ == "__main__":
    main(sys.argv[1])
