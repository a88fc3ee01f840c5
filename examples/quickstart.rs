//! Creates a vault in the current directory, stores a value and changes its password: the example
//! of the README.

#![expect(clippy::print_stdout, reason = "it prints its progress")]

use vaultstore::{CreateOptions, InitOptions, Password, RekeyPlan, StoreUrl, Vault, VaultOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url: StoreUrl = "redb:vault.redb".parse()?;
    let store = url.create().await?;
    let vault = Vault::init(store, InitOptions::default(), VaultOptions::default()).await?;

    // One Argon2id computation. Keep the key: using it costs microseconds.
    let key = vault.derive_key(Password::new("correct horse")).await?;
    let token = vault.create(b"battery staple", &key, CreateOptions::default()).await?;

    let plan = RekeyPlan::new().pair(Password::new("correct horse"), Password::new("a better one"));
    let mut session = vault.rekey(plan).await?;
    let total = session.total();
    while let Some(report) = session.step().await? {
        println!("{} of {total} records", report.counts.scanned);
    }

    let key = vault.derive_key(Password::new("a better one")).await?;
    assert_eq!(vault.read(&token, &key).await?.as_bytes(), b"battery staple");
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_readme_shows_this_program_and_it_runs() -> Result<(), Box<dyn std::error::Error>> {
        let source = include_str!("quickstart.rs");
        let start = source.find("use vaultstore").ok_or("no first import")?;
        let end = source.find("\n#[cfg(test)]").ok_or("no tests")?;
        let block = format!("```rust\n{}```", &source[start..end]);
        assert!(include_str!("../README.md").contains(&block), "the README shows other code");

        let folder = tempfile::tempdir()?;
        std::env::set_current_dir(folder.path())?;
        super::main()
    }
}
