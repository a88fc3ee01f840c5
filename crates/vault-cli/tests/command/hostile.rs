//! What an attacker who can write to the database but knows no password does not gain.

use futures::executor::block_on;
use vaultstore::store::PageLimit;
use vaultstore::{Record, RecordId};

use crate::sandbox::Sandbox;

fn records(sandbox: &Sandbox) -> Vec<Record> {
    block_on(sandbox.store().list(None, PageLimit::new(usize::MAX, usize::MAX))).unwrap().records
}

/// Puts records in the place of those that have their ids.
fn replace(sandbox: &Sandbox, records: Vec<Record>) {
    let store = sandbox.store();
    for record in &records {
        block_on(store.delete(&record.id)).unwrap();
    }
    block_on(store.insert(records)).unwrap();
}

#[test]
fn swapped_tokens_read_nobody_elses_value_and_are_damage_to_a_rekey() {
    let sandbox = Sandbox::with_vault();
    sandbox.create("one", "old", b"value of one");
    sandbox.create("two", "old", b"value of two");
    let [mut one, mut two] = <[Record; 2]>::try_from(records(&sandbox)).unwrap();
    std::mem::swap(&mut one.token, &mut two.token);
    replace(&sandbox, vec![one, two]);
    let answer = sandbox.read("one", "old");
    assert!(answer.stdout.is_empty(), "{answer:?}");
    answer.fails(1);
    let args = ["rekey", "--old-password-file", "old", "--new-password-file", "new", "--json"];
    let answer = sandbox.run(&args);
    let report: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!((&report["damaged"], &report["rekeyed"]), (&2.into(), &0.into()), "{answer:?}");
}

/// Sealed by the second implementation, `tests/golden/make.py`, before tokens were bound.
const OF_BEFORE: &[u8] = b"v3:AQABAAAAAAADBGXH33BDlYqSYnDcpL8X8pxo7HBhfu26PTM3AQaPYrkQVLvpwRoV8NzLCOpFgj6okulQcw9f33HbpGbD\
Ie2t615U4l34uhMfJBsCM8yfDNjTOcpn16zbCJmNLGJOMWG_J-XAB3TuibprCsdy8xRxDTK2";

#[test]
fn a_record_of_a_pre_release_version_is_said_to_be_one() {
    let sandbox = Sandbox::with_vault();
    sandbox.write("old", "correct horse");
    sandbox.plant("tk_before", OF_BEFORE);
    let [planted] = <[Record; 1]>::try_from(records(&sandbox)).unwrap();
    let id = RecordId::from_stored("id-1");
    block_on(sandbox.store().delete(&planted.id)).unwrap();
    block_on(sandbox.store().insert(vec![Record { id, ..planted }])).unwrap();
    let answer = sandbox.read("tk_before", "old");
    assert!(answer.stdout.is_empty(), "{answer:?}");
    let answer = answer.fails(1);
    assert!(answer.stderr.contains("pre-release version"), "{answer:?}");
    assert!(!answer.stderr.contains("damaged"), "{answer:?}");
}
