//! The paths that Rust source names, such as `std::fs::File`, whatever its layout, comments and texts.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Every path in the source, one for each leaf of a `use`; items under `#[cfg(test)]` are passed over.
pub(crate) fn named_in(source: &str) -> Result<Vec<String>, String> {
    let tokens: TokenStream =
        source.parse().map_err(|error| format!("is no Rust source: {error}"))?;
    let mut found = Vec::new();
    collect(tokens, "", &mut found);
    Ok(found)
}

/// Whether a path is the other one or lies below it.
pub(crate) fn is_within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Collects the paths of a token stream; inside `prefix::{…}` each of them continues the prefix.
fn collect(tokens: TokenStream, prefix: &str, found: &mut Vec<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut rest = tokens.as_slice();
    while let Some((first, mut after)) = rest.split_first() {
        match first {
            TokenTree::Punct(punct) if punct.as_char() == '#' && is_cfg_test(after) => {
                after = past_item(&after[1..]);
            }
            TokenTree::Punct(punct) if punct.as_char() == '*' && !prefix.is_empty() => {
                found.push(format!("{prefix}::*"));
            }
            // `name as other`: the other name is none that is looked for
            TokenTree::Ident(ident) if *ident == "as" && !prefix.is_empty() => {
                after = after.get(1..).unwrap_or_default();
            }
            TokenTree::Ident(ident) => {
                let path = if prefix.is_empty() {
                    ident.to_string()
                } else {
                    format!("{prefix}::{ident}")
                };
                after = follow(path, after, found);
            }
            TokenTree::Group(group) => collect(group.stream(), "", found),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        rest = after;
    }
}

/// Follows a path from its first name to its end, and gives what comes after.
fn follow<'a>(
    mut path: String,
    mut tokens: &'a [TokenTree],
    found: &mut Vec<String>,
) -> &'a [TokenTree] {
    while let [TokenTree::Punct(first), TokenTree::Punct(second), next, rest @ ..] = tokens {
        if first.as_char() != ':' || second.as_char() != ':' {
            break;
        }
        match next {
            TokenTree::Ident(ident) => path = format!("{path}::{ident}"),
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                collect(group.stream(), &path, found);
                return rest;
            }
            TokenTree::Punct(punct) if punct.as_char() == '*' => {
                found.push(format!("{path}::*"));
                return rest;
            }
            _ => break,
        }
        tokens = rest;
    }
    found.push(path);
    tokens
}

fn is_cfg_test(tokens: &[TokenTree]) -> bool {
    matches!(tokens.first(), Some(TokenTree::Group(group)) if group.stream().to_string().replace(' ', "") == "cfg(test)")
}

/// What comes after an item, which ends with its braces or a semicolon.
fn past_item(tokens: &[TokenTree]) -> &[TokenTree] {
    let is_end = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        _ => false,
    };
    let end = tokens.iter().position(is_end).map_or(tokens.len(), |end| end + 1);
    &tokens[end..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_and_bodies_are_seen_and_comments_texts_and_tests_are_not() {
        let source = r#"
            //! std::env is not used.
            use std::{fs::{self, File as Handle}, io::*};
            fn f() { let x = core::open(1); println!("std::net {}", std::process::id()); }
            #[cfg(test)]
            mod tests { use std::path::Path; }
            fn g() -> a::B<c::D> { let e = "std::env"; /* std::env */ }
        "#;
        let found = named_in(source).unwrap();
        for path in [
            "std::fs::self",
            "std::fs::File",
            "std::io::*",
            "core::open",
            "std::process::id",
            "a::B",
            "c::D",
        ] {
            assert!(found.iter().any(|known| known == path), "{path} not in {found:?}");
        }
        for outer in ["std::env", "std::net", "std::path", "std::fs::Handle"] {
            assert!(!found.iter().any(|path| is_within(path, outer)), "{outer} in {found:?}");
        }
    }

    #[test]
    fn a_path_is_within_itself_and_its_modules_only() {
        assert!(is_within("std::fs", "std::fs"));
        assert!(is_within("std::fs::File", "std::fs"));
        assert!(!is_within("std::fsx", "std::fs"));
    }
}
