//! Sentences about the password identities of the Go package.

use vaultstore::store::PasswordIdentities;

use super::figures;

/// `3 password identities and 12 links to them`.
pub(crate) fn named(found: &PasswordIdentities) -> String {
    let PasswordIdentities { identities, links } = *found;
    let plural = |number: u64, one: &str, many: &str| {
        format!("{} {}", figures::count(number), if number == 1 { one } else { many })
    };
    let identities = plural(identities, "password identity", "password identities");
    format!("{identities} and {}", plural(links, "link from a record", "links from records"))
}

pub(crate) fn status(found: &PasswordIdentities) -> String {
    if found.is_empty() {
        return "no password identities: no row says which records share a password".to_owned();
    }
    format!(
        "{}: anyone who reads the database can group records by password, and test guesses at the passwords",
        named(found)
    )
}

pub(crate) fn purged(removed: &PasswordIdentities) -> String {
    if removed.is_empty() {
        return "nothing was removed: there are no password identities".to_owned();
    }
    format!("removed {}; no record and no setting was changed", named(removed))
}

/// The same in a table.
pub(crate) fn in_a_table(found: &PasswordIdentities) -> String {
    if found.is_empty() {
        return "none".to_owned();
    }
    let PasswordIdentities { identities, links } = *found;
    format!("{}, {} records linked", figures::count(identities), figures::count(links))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_words() {
        let named = |identities, links| named(&PasswordIdentities { identities, links });
        assert_eq!(named(1, 1), "1 password identity and 1 link from a record");
        assert_eq!(named(3, 1200), "3 password identities and 1,200 links from records");
    }
}
