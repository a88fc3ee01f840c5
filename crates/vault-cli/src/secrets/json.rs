//! The few rules of JSON that lines with secrets need.
//!
//! `serde_json` unescapes into an internal buffer that is not wiped. The rules of a string (RFC
//! 8259 §7) are therefore applied here.
//!
//! The fuzz target `pairs` compiles this file as well, and compares it with `serde_json`.

use zeroize::Zeroizing;

/// Takes this byte, after white space.
pub(crate) fn expect(rest: &mut &[u8], wanted: u8) -> Option<()> {
    *rest = rest.trim_ascii_start().strip_prefix(&[wanted])?;
    Some(())
}

/// Takes a string; its text is valid UTF-8.
pub(crate) fn string(rest: &mut &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    expect(rest, b'"')?;
    // Unescaping never lengthens, so the bytes are never moved.
    let mut text = Zeroizing::new(Vec::with_capacity(raw_len(rest)));
    loop {
        match byte(rest)? {
            b'"' => break,
            b'\\' => escape(rest, &mut text)?,
            0..0x20 => return None,
            other => text.push(other),
        }
    }
    std::str::from_utf8(&text).ok()?;
    Some(text)
}

/// The length of a string as it is written, up to its closing quote.
fn raw_len(rest: &[u8]) -> usize {
    let mut is_escaped = false;
    let ends = |byte: &u8| {
        let ends = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        ends
    };
    rest.iter().position(ends).unwrap_or(rest.len())
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
