//! One line of a file of password pairs, as JSON.
//!
//! The fuzz target `pairs` compiles this file as well, and compares it with `serde_json`.

use vaultstore::Password;

use super::json::{self, expect};

/// The two passwords of a line, if it is a JSON array of two strings.
pub(crate) fn parse_pair(line: &[u8]) -> Option<(Password, Password)> {
    let mut rest = line;
    expect(&mut rest, b'[')?;
    let old = string(&mut rest)?;
    expect(&mut rest, b',')?;
    let new = string(&mut rest)?;
    expect(&mut rest, b']')?;
    rest.trim_ascii().is_empty().then_some((old, new))
}

fn string(rest: &mut &[u8]) -> Option<Password> {
    json::string(rest).map(|mut text| Password::new(std::mem::take(&mut *text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_pair(line: &str, old: &str, new: &str) -> bool {
        parse_pair(line.as_bytes()).is_some_and(|(read_old, read_new)| {
            read_old.is_same_as(&Password::new(old)) && read_new.is_same_as(&Password::new(new))
        })
    }

    #[test]
    fn strings_are_read_as_json_has_them() {
        assert!(is_pair(r#"["old","new"]"#, "old", "new"));
        assert!(is_pair(r#"  [ "a b" , "" ] "#, "a b", ""));
        assert!(is_pair(r#"["\"\\\/\b\f\n\r\t","é"]"#, "\"\\/\u{8}\u{c}\n\r\t", "é"));
        assert!(is_pair(r#"["\u00e9","\ud83d\uDD11"]"#, "é", "🔑"));
    }

    #[test]
    fn what_is_no_pair_is_refused() {
        for line in [
            r#"["old"]"#,
            r#"["old","new","more"]"#,
            r#"["old","new"] x"#,
            r#"["old","new"#,
            r#"["old" "new"]"#,
            r#"["\x","new"]"#,
            r#"["\ud83d","new"]"#,
            r#"["\udd11","new"]"#,
            "[\"a\tb\",\"new\"]",
            "old,new",
        ] {
            assert!(parse_pair(line.as_bytes()).is_none(), "{line}");
        }
    }
}
