//! A file of password pairs is read as JSON reads it.

#[path = "../../crates/vault-cli/src/secrets/json.rs"]
mod json;
#[path = "../../crates/vault-cli/src/secrets/pair.rs"]
mod pair;

use vault_core::Password;

/// A line is a pair of passwords exactly if it is a JSON array of two strings, and then of these.
/// Any two texts, divided by a line feed, are a pair once they are written as JSON.
pub fn pairs(data: &[u8]) {
    // A form feed is white space to us and not to JSON.
    let json = serde_json::from_slice::<[String; 2]>(data).ok();
    match (pair::parse_pair(data), json) {
        (Some(read), Some(json)) => assert_same(&read, &json),
        (Some(_), None) => assert!(data.contains(&0x0c), "a pair that is no JSON"),
        (None, json) => assert!(json.is_none(), "JSON that is no pair"),
    }
    if let Ok(text) = str::from_utf8(data) {
        let (old, new) = text.split_once('\n').unwrap_or((text, ""));
        let texts = [old.to_owned(), new.to_owned()];
        let line = serde_json::to_vec(&texts).expect("strings are JSON");
        assert_same(&pair::parse_pair(&line).expect("it is a pair"), &texts);
    }
}

fn assert_same((old, new): &(Password, Password), [json_old, json_new]: &[String; 2]) {
    assert!(old.is_same_as(&Password::new(json_old.as_str())));
    assert!(new.is_same_as(&Password::new(json_new.as_str())));
}
