//! Addresses of vaults come from the command line, from variables and from files.

use vaultstore::StoreUrl;

/// What is put where an address has its password.
const PASSWORD: &str = "hunter2-hunter2";

/// No text makes the parser panic. What it reads is shown without control characters, and means the
/// same when it is read again. A password is shown nowhere, and neither is a text that is refused.
pub fn address(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let parsed = text.parse::<StoreUrl>();
    if let Ok(url) = &parsed {
        let shown = url.to_string();
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
        if url.file().is_some() {
            let again: Result<StoreUrl, _> = shown.parse();
            assert!(again.is_ok_and(|again| again == *url), "{shown:?} is another vault");
        }
    }
    // Text of three parts, divided by line feeds, is the user, the host and the rest.
    let mut parts = text.split('\n');
    let [user, host, rest] = [(); 3].map(|()| parts.next().unwrap_or_default());
    // After one of these it is not where an address has its password.
    let is_elsewhere = [user, host].iter().any(|part| part.contains(['/', '?', '#']));
    if is_elsewhere || [user, host, rest].iter().any(|part| part.contains(PASSWORD)) {
        return;
    }
    for address in [
        format!("postgres://{user}:{PASSWORD}@{host}/{rest}"),
        format!("postgres://{user}@{host}/db?password={PASSWORD}{rest}"),
    ] {
        let shown = match address.parse::<StoreUrl>() {
            Ok(url) => format!("{url} {url:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!shown.contains(PASSWORD), "{shown:?}");
    }
}
