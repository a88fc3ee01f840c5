//! Records of several forms: `leaks` shows them, and `upgrade` gives all of them one.

use crate::sandbox::Sandbox;

/// Two records at the first cost of the vault, one of them under another password, and one at a
/// cost that was set later.
fn mixed() -> Sandbox {
    let sandbox = Sandbox::with_vault();
    sandbox.write("other", "other password");
    sandbox.create("a", "old", b"a");
    sandbox.create("b", "other", b"b");
    sandbox.run(&["settings", "set", "kdf", "t=3,m=19456,p=1"]).succeeds();
    sandbox.create("c", "old", b"c");
    sandbox
}

fn costs(sandbox: &Sandbox) -> usize {
    sandbox.run(&["census", "--json"]).json(0)["kdfs"].as_array().unwrap().len()
}

#[test]
fn leaks_says_what_divides_a_vault_and_which_commands_end_it() {
    let sandbox = mixed();
    let leaks = sandbox.run(&["leaks"]);
    assert_eq!(leaks.code, Some(3), "{leaks:?}");
    for part in ["The salt and cost of a record", "vaultstore upgrade", "vaultstore scrub"] {
        assert!(leaks.text().contains(part), "{part}: {leaks:?}");
    }
    let json = sandbox.run(&["leaks", "--json"]).json(3);
    let marks = json["features"].as_array().unwrap().iter();
    let marks: Vec<_> = marks.filter(|feature| feature["verdict"] == "mark").collect();
    assert!(marks.iter().any(|feature| feature["feature"] == "kdf"), "{json}");

    let both = ["upgrade", "--password-file", "old", "--password-file", "other"];
    sandbox.run(&both).succeeds();
    sandbox.run(&["scrub"]).succeeds();
    let json = sandbox.run(&["leaks", "--json"]).json(0);
    assert_eq!(json["remedy"], serde_json::json!([]));
}

#[test]
fn an_upgrade_leaves_no_record_out_unless_it_is_asked_to() {
    let sandbox = mixed();
    assert_eq!(costs(&sandbox), 2);
    let before = sandbox.envelope("a");
    let alone = ["upgrade", "--password-file", "old"];
    for more in [&[][..], &["--dry-run"]] {
        let refused = sandbox.run(&[&alone[..], more].concat());
        assert_eq!(refused.code, Some(6), "{refused:?}");
        let why = "none of the passwords opens 1 record of another form";
        assert!(refused.stderr.contains(why), "{refused:?}");
        assert!(refused.stderr.contains("--leave-rest"), "{refused:?}");
        assert_eq!(sandbox.envelope("a"), before);
    }
    let left = sandbox.run(&[&alone[..], &["--leave-rest"]].concat()).succeeds();
    assert!(left.stderr.contains("1 record of another form"), "{left:?}");
    assert_ne!(sandbox.envelope("a"), before);
    assert_eq!(costs(&sandbox), 2);

    let both = ["upgrade", "--password-file", "old", "--password-file", "other"];
    sandbox.run(&both).succeeds();
    assert_eq!(costs(&sandbox), 1);
    for (token, password) in [("a", "old"), ("b", "other"), ("c", "old")] {
        sandbox.still_reads(token, password, token.as_bytes());
    }
    let stored = sandbox.envelope("a");
    sandbox.run(&both).succeeds();
    assert_eq!(sandbox.envelope("a"), stored, "what has the form already is not written again");
}
