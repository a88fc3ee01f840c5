//! `demo`: a vault, a leaked password, a rekey, and the proof, in a temporary folder.

use std::collections::BTreeMap;
use std::sync::Arc;

use vaultstore::store::PageLimit;
use vaultstore::token::TokenLength;
use vaultstore::{
    CreateOptions, InitOptions, Password, PasswordKey, RecordId, RekeyPlan, Token, Vault,
    VaultOptions, VaultStore,
};

use super::Context;
use super::temporary::Temporary;
use crate::exit::{Exit, Failure};
use crate::render::{self, figures};

/// The users of the vault; the password of the first one leaks.
const USERS: [&str; 4] = ["Ada", "Ben", "Cleo", "Dan"];
/// Records of each user.
const RECORDS: usize = 250;

pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let temporary = Temporary::new("vaultstore-demo-")?;
    let store = context.to_be_closed(temporary.url.create().await?);
    let options = VaultOptions::default();
    let vault = Vault::init(Arc::clone(&store), InitOptions::default(), options).await?;
    let users = fill(&vault).await?;
    let before = envelopes(&*store).await?;
    say(&format!(
        "Created a vault of {} records in a temporary folder. {} people share it, each with a password of their own,\n\
         and nothing in it says which records belong to the same password.\n",
        figures::count(before.len() as u64),
        USERS.len(),
    ))?;
    say(&format!(
        "{}'s password leaks. Which records does it open? Only trying it on each one tells, and a rekey does:",
        USERS[0]
    ))?;
    let new = secret()?;
    let plan = RekeyPlan::new().pair(password(&users[0].secret), password(&new));
    let mut session = vault.rekey(plan).await?;
    while session.step().await?.is_some() {}
    let report = session.report().clone();
    say(&format!(
        "  {} records tried, {} re-encrypted under a new password, in {}\n",
        figures::count(report.counts.scanned),
        figures::count(report.counts.rekeyed),
        figures::seconds(report.elapsed),
    ))?;
    let after = envelopes(&*store).await?;
    let same = before.iter().filter(|(id, envelope)| after.get(id) == Some(envelope)).count();
    let leaked = opened(&vault, &users[0].key, &users[0].tokens).await?;
    let key = vault.derive_key(password(&new)).await?;
    let moved = opened(&vault, &key, &users[0].tokens).await?;
    say("The proof, read back from the vault:")?;
    say(&format!(
        "  {} records open under the leaked password, {} of {} under the new one",
        figures::count(leaked),
        figures::count(moved),
        figures::count(RECORDS as u64),
    ))?;
    say(&format!(
        "  {} records of the others are unchanged, byte for byte\n",
        figures::count(same as u64)
    ))?;
    let expected = (0, RECORDS as u64, RECORDS * (USERS.len() - 1));
    if (leaked, moved, same) != expected {
        return Err(Failure::failed("the demo found a record that is not as it must be")
            .hint("this is a bug in vaultstore; please report it"));
    }
    drop((vault, session));
    context.close().await;
    drop(temporary);
    say("The vault was removed. Create your own with `vaultstore init`.")?;
    Ok(Exit::Done)
}

fn say(lines: &str) -> Result<(), Failure> {
    render::print_text(&format!("{lines}\n"))
}

/// A user's password, and the records under it.
struct User {
    secret: Token,
    key: Arc<PasswordKey>,
    tokens: Vec<Token>,
}

async fn fill(vault: &Vault) -> Result<Vec<User>, Failure> {
    let mut users = Vec::new();
    for name in USERS {
        let secret = secret()?;
        let key = vault.derive_key(password(&secret)).await?;
        let values: Vec<String> =
            (1..=RECORDS).map(|number| format!("secret {number} of {name}")).collect();
        let tokens = vault.create_many(&values, &key, CreateOptions::default()).await?;
        users.push(User { secret, key, tokens });
    }
    Ok(users)
}

/// A random password, in an alphabet that people use.
fn secret() -> Result<Token, Failure> {
    Ok(Token::generate(TokenLength::default())?)
}

fn password(secret: &Token) -> Password {
    Password::new(secret.as_str())
}

/// The stored text of every record.
async fn envelopes(store: &dyn VaultStore) -> Result<BTreeMap<RecordId, Vec<u8>>, Failure> {
    let all = store.read_page(None, PageLimit::new(USERS.len() * RECORDS, usize::MAX)).await?;
    let text = |record: vaultstore::store::SealedRecord| {
        (record.id, record.envelope.as_bytes().unwrap_or_default().to_vec())
    };
    Ok(all.into_iter().map(text).collect())
}

async fn opened(vault: &Vault, key: &Arc<PasswordKey>, tokens: &[Token]) -> Result<u64, Failure> {
    let mut opened = 0;
    for token in tokens {
        opened += u64::from(vault.read_or_none(token, key).await?.is_some());
    }
    Ok(opened)
}
