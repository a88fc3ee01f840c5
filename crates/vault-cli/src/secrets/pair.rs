//! One line of a file of password pairs, as JSON.
//!
//! `serde_json` unescapes into an internal buffer that is not wiped. The few rules of a JSON string
//! (RFC 8259 §7) are therefore applied here.
//!
//! The fuzz target `pairs` compiles this file as well, and compares it with `serde_json`.

use vaultstore::Password;
use zeroize::Zeroizing;

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

fn expect(rest: &mut &[u8], wanted: u8) -> Option<()> {
    *rest = rest.trim_ascii_start().strip_prefix(&[wanted])?;
    Some(())
}

fn string(rest: &mut &[u8]) -> Option<Password> {
    expect(rest, b'"')?;
    // Unescaping never lengthens, so the bytes are never moved.
    let mut text = Zeroizing::new(Vec::with_capacity(rest.len()));
    loop {
        match byte(rest)? {
            b'"' => break,
            b'\\' => escape(rest, &mut text)?,
            0..0x20 => return None,
            other => text.push(other),
        }
    }
    std::str::from_utf8(&text).ok()?;
    Some(Password::new(std::mem::take(&mut *text)))
}

fn escape(rest: &mut &[u8], text: &mut Vec<u8>) -> Option<()> {
    let plain = match byte(rest)? {
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => {
            let mut utf8 = Zeroizing::new([0; 4]);
            text.extend_from_slice(code_point(rest)?.encode_utf8(&mut *utf8).as_bytes());
            return Some(());
        }
        same @ (b'"' | b'\\' | b'/') => same,
        _ => return None,
    };
    text.push(plain);
    Some(())
}

/// Four hex digits, or a surrogate pair of twice that.
fn code_point(rest: &mut &[u8]) -> Option<char> {
    let high = code_unit(rest)?;
    if !(0xd800..0xdc00).contains(&high) {
        return char::from_u32(high);
    }
    *rest = rest.strip_prefix(b"\\u")?;
    let low = code_unit(rest)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
    char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + low)
}

fn code_unit(rest: &mut &[u8]) -> Option<u32> {
    let mut unit = 0;
    for _ in 0..4 {
        unit = unit << 4 | char::from(byte(rest)?).to_digit(16)?;
    }
    Some(unit)
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    Some(*first)
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
