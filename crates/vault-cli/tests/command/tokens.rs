//! The life of tokens: reading several, ends and purges, hidden records, and the filters of a list.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::executor::block_on;
use serde_json::{Value, json};
use vaultstore::store::{RecordUpdate, WriteOutcome};
use vaultstore::{Timestamp, Token};

use crate::sandbox::Sandbox;

/// Lets a record expire in 1970, so that no test waits.
fn expire(sandbox: &Sandbox, token: &str) {
    let store = sandbox.store();
    let found = block_on(store.find(&[Token::new(token).unwrap()])).unwrap();
    let id = found[0].as_ref().unwrap().id.clone();
    let change = RecordUpdate::of(id).expires_at(Some(Timestamp::from_micros(1)));
    assert_eq!(block_on(store.update(change)).unwrap(), WriteOutcome::Applied);
}

fn tokens(list: &Value) -> Vec<&str> {
    let records = list["records"].as_array().unwrap();
    records.iter().map(|record| record["token"].as_str().unwrap()).collect()
}

#[test]
fn several_values_follow_one_another_byte_for_byte() {
    let sandbox = Sandbox::with_vault();
    let every_byte: Vec<u8> = (0..=255).collect();
    sandbox.create("bytes", "old", &every_byte);
    sandbox.create("newline", "old", b"\r\n");
    let read = ["read", "newline", "bytes", "newline", "--password-file", "old"];
    let expected = [b"\r\n", &every_byte[..], b"\r\n"].concat();
    assert_eq!(sandbox.run(&read).succeeds().stdout, expected);

    // All or nothing: no reader of a pipe takes some for all.
    sandbox.create("theirs", "new", b"x");
    for other in ["nobody", "theirs"] {
        let refused = sandbox.run(&["read", "bytes", other, "--password-file", "old"]).fails(1);
        assert_eq!(refused.stdout, b"");
    }
    sandbox.run(&["read", "--password-file", "old"]).fails(2);
}

#[test]
fn as_json_each_token_has_its_value_or_the_reason() {
    let sandbox = Sandbox::with_vault();
    let every_byte: Vec<u8> = (0..=255).collect();
    sandbox.create("bytes", "old", &every_byte);
    for token in ["theirs", "hidden", "expired"] {
        sandbox.create(token, if token == "theirs" { "new" } else { "old" }, b"x");
    }
    sandbox.run(&["delete", "hidden"]).succeeds();
    expire(&sandbox, "expired");
    sandbox.plant("planted", b"v9:x");

    let all = ["bytes", "theirs", "hidden", "expired", "planted", "nobody", "bytes"];
    let read = [&["read", "--json", "--password-file", "old"][..], &all].concat();
    let answer = sandbox.run(&read).json(1);
    let value = STANDARD.encode(&every_byte);
    let expected = [
        (Some(&value), None),
        (None, Some("wrong_password")),
        (None, Some("deleted")),
        (None, Some("expired")),
        (None, Some("malformed")),
        (None, Some("unknown")),
        (Some(&value), None),
    ];
    for ((record, token), (value, error)) in
        answer["records"].as_array().unwrap().iter().zip(all).zip(expected)
    {
        assert_eq!(*record, json!({ "token": token, "value": value, "error": error }));
    }
    let answer = sandbox.run(&["read", "bytes", "--json", "--password-file", "old"]).json(0);
    assert_eq!(answer["records"].as_array().unwrap().len(), 1);
}

#[test]
fn a_hidden_record_is_restored() {
    let sandbox = Sandbox::with_vault();
    sandbox.create("t", "old", b"value");
    sandbox.run(&["restore", "t"]).fails(1);
    sandbox.run(&["delete", "t"]).succeeds();
    sandbox.run(&["delete", "t"]).fails(1);
    sandbox.run(&["restore", "t"]).succeeds();
    sandbox.still_reads("t", "old", b"value");
    sandbox.run(&["restore", "nobody"]).fails(1);
}

#[test]
fn a_record_is_renewed_and_expired_ones_are_purged() {
    let sandbox = Sandbox::with_vault();
    for token in ["a", "b", "kept"] {
        sandbox.create(token, "old", b"value");
    }
    expire(&sandbox, "a");
    expire(&sandbox, "b");
    sandbox.read("a", "old").fails(1);
    let exists = sandbox.run(&["exists", "a", "--json"]).json(1);
    assert_eq!(exists, json!({ "token": "a", "exists": false }));

    sandbox.run(&["renew", "a", "--expires-in", "30d"]).succeeds();
    sandbox.still_reads("a", "old", b"value");
    assert_eq!(sandbox.run(&["exists", "a", "--json"]).json(0)["exists"], true);
    sandbox.run(&["renew", "a"]).fails(2);
    sandbox.run(&["renew", "a", "--expires-in", "1d", "--never"]).fails(2);
    sandbox.run(&["renew", "nobody", "--never"]).fails(1);
    sandbox.run(&["renew", "a", "--never"]).succeeds();
    let list = sandbox.run(&["list", "--token", "a", "--json"]).json(0);
    assert_eq!(list["records"][0]["expires_at"], Value::Null);

    let hidden = sandbox.run(&["purge-expired", "--json"]).json(0);
    assert_eq!(hidden, json!({ "purged": 1, "refused": 0, "held": [], "hard": false }));
    sandbox.run(&["renew", "b", "--never"]).fails(1);
    assert_eq!(sandbox.run(&["purge-expired", "--json"]).json(0)["purged"], 0);
    let gone = sandbox.run(&["purge-expired", "--hard"]).succeeds();
    assert_eq!(gone.stdout, b"1 expired record removed for good\n");
    assert_eq!(tokens(&sandbox.run(&["list", "--json"]).json(0)), ["a", "kept"]);
    sandbox.create("b", "old", b"its token is free");
}

#[test]
fn a_list_is_filtered_sorted_and_counted() {
    let sandbox = Sandbox::with_vault();
    for token in ["b", "a", "C", "d"] {
        sandbox.create(token, "old", b"value");
    }
    sandbox.run(&["delete", "a"]).succeeds();
    expire(&sandbox, "b");
    let list = |more: &[&str]| {
        sandbox.run(&[&["list", "--json", "--sort", "token"], more].concat()).json(0)
    };
    assert_eq!(tokens(&list(&[])), ["C", "a", "b", "d"]);
    assert_eq!(tokens(&list(&["--reverse", "--limit", "2"])), ["d", "b"]);
    assert_eq!(tokens(&list(&["--offset", "1", "--limit", "2"])), ["a", "b"]);
    assert_eq!(tokens(&list(&["--deleted", "no"])), ["C", "b", "d"]);
    assert_eq!(tokens(&list(&["--deleted", "only"])), ["a"]);
    assert_eq!(tokens(&list(&["--expired", "no", "--deleted", "no"])), ["C", "d"]);
    assert_eq!(tokens(&list(&["--expired", "only"])), ["b"]);
    assert_eq!(tokens(&list(&["--token", "d", "--token", "a", "--token", "x"])), ["a", "d"]);
    let all = list(&[]);
    let id = all["records"][1]["id"].as_str().unwrap();
    assert_eq!(tokens(&list(&["--id", id])), ["a"]);
    assert_eq!(tokens(&list(&["--after", id])), ["b", "d"]);
    assert_eq!(tokens(&list(&["--after", id, "--reverse"])), ["C"]);

    assert_eq!(sandbox.run(&["list", "--count", "--deleted", "no"]).succeeds().stdout, b"3\n");
    assert_eq!(list(&["--count", "--expired", "only"]), json!({ "count": 1 }));
    sandbox.run(&["list", "--sort", "token", "--after", "nobody's"]).fails(1);
    sandbox.run(&["list", "--count", "--limit", "3"]).fails(2);
    sandbox.run(&["list", "--deleted", "maybe"]).fails(2);
}
