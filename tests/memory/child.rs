//! The life of a process with secrets.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
    time::Duration,
};

use futures::executor::block_on;
use sha2::{Digest as _, Sha256};
use vaultstore::envelope::{OpenPolicy, SealParams, V2Params};
use vaultstore::rekey::MergeCheck;
use vaultstore::run::RunOptions;
use vaultstore::store::PageLimit;
use vaultstore::{
    CreateOptions, InitOptions, KdfParams, Password, RekeyPlan, StoreUrl, Token, Vault, VaultError,
    VaultOptions,
};
use zeroize::Zeroizing;

use crate::needles::Needle;

/// Where the child keeps its vault, and what it shares with its parent.
pub(crate) const FOLDER: &str = "VAULTSTORE_MEMORY_FOLDER";

/// How many records there are.
pub(crate) const RECORDS: usize = 20;

const PLANTED: &str = "planted";

/// A password or value, the same in every process and in no file: 32 characters.
///
/// They are chosen by a hash of the label. The hash itself is no secret that is searched for.
pub(crate) fn secret(label: &str) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = Vec::with_capacity(32);
    let hash = Sha256::digest(label);
    text.extend(hash.iter().map(|byte| alphabet[usize::from(byte & 63)]));
    text
}

fn password(label: &str) -> Password {
    Password::new(secret(label))
}

pub(crate) fn cost() -> KdfParams {
    KdfParams::new(64, 1, 1).unwrap()
}

/// Lets the child load every secret in every form, to see that all of them would be found.
pub(crate) fn plant(folder: &Path, needles: &[Needle]) {
    let bytes: Vec<u8> = needles.iter().flat_map(|needle| needle.bytes.clone()).collect();
    fs::write(folder.join(PLANTED), bytes).unwrap();
}

pub(crate) fn live(folder: &Path) {
    let vault = block_on(make_vault(folder));
    let tokens = block_on(fill_and_rekey(&vault, folder));
    block_on(use_secrets(&vault, &tokens, folder));
    stop_at("dropped");
    block_on(vault.store().close());
    drop(vault);
    wait_for_threads_to_end();
    stop_at("closed");
}

async fn make_vault(folder: &Path) -> Vault {
    let url: StoreUrl = format!("redb:{}", folder.join("vault").display()).parse().unwrap();
    let open = OpenPolicy::trusting().v2_costs([V2Params::new(cost())]);
    let options = VaultOptions::default().open(open);
    let new = InitOptions::default().cost(cost());
    Vault::init(url.create().await.unwrap(), new, options).await.unwrap()
}

async fn fill_and_rekey(vault: &Vault, folder: &Path) -> Vec<Token> {
    let mut tokens = Vec::new();
    let key = vault.derive_key(password("old")).await.unwrap();
    for number in 0..RECORDS {
        let value = Zeroizing::new(secret(&format!("value {number}")));
        let created = vault.create(&value, &key, CreateOptions::default()).await;
        tokens.push(created.unwrap());
    }
    drop(key);
    show_envelopes(vault, &folder.join("v3 old")).await;
    rekey(vault, "old", "middle", SealParams::V2 { params: cost() }).await;
    show_envelopes(vault, &folder.join("v2 middle")).await;
    rekey(vault, "middle", "new", vault.seal_spec().await.unwrap()).await;
    show_envelopes(vault, &folder.join("v3 new")).await;
    tokens
}

async fn rekey(vault: &Vault, old: &str, new: &str, spec: SealParams) {
    let run = RunOptions::default().parallel_threshold(0).page_limit(PageLimit::new(7, 1 << 20));
    let plan = RekeyPlan::new().pair(password(old), password(new)).write_as(spec).options(run);
    let mut session = vault.rekey(plan.merge_check(MergeCheck::Full)).await.unwrap();
    while session.step().await.unwrap().is_some() {
        session.state().unwrap();
    }
    assert_eq!(session.report().counts.rekeyed, RECORDS as u64);
}

/// Writes each id and envelope, which are no secrets, where the parent derives the keys from.
async fn show_envelopes(vault: &Vault, path: &Path) {
    let wide = PageLimit::new(usize::MAX, usize::MAX);
    let mut lines = String::new();
    for record in vault.store().list(None, wide).await.unwrap() {
        let envelope = String::from_utf8(record.envelope.as_bytes().unwrap().to_vec()).unwrap();
        writeln!(lines, "{} {envelope}", record.token.as_str()).unwrap();
    }
    fs::write(path, lines).unwrap();
}

async fn use_secrets(vault: &Vault, tokens: &[Token], folder: &Path) {
    let old = vault.derive_key(password("old")).await.unwrap();
    let middle = password("middle");
    let new = vault.derive_key(password("new")).await.unwrap();
    let wrong = vault.read(&tokens[0], &old).await;
    assert!(matches!(wrong, Err(VaultError::WrongPassword)));
    let values = vault.read_many(tokens, &new).await.unwrap();
    assert!(values.iter().all(Result::is_ok));
    stop_at("alive");
    let planted = read_wiped(&folder.join(PLANTED));
    stop_at("planted");
    drop((values, planted));
    // At the very last, on this thread itself: a key that is kept opens and seals where it is
    // asked.
    let value = Zeroizing::new(secret("value 0"));
    vault.overwrite(&tokens[0], &value, &new).await.unwrap();
    vault.read(&tokens[1], &new).await.unwrap();
    drop((old, middle, new, value));
}

/// The bytes of a file, in one buffer only.
fn read_wiped(path: &Path) -> Zeroizing<Vec<u8>> {
    let mut file = File::open(path).unwrap();
    let len = usize::try_from(file.metadata().unwrap().len()).unwrap();
    let mut bytes = Zeroizing::new(vec![0; len]);
    file.read_exact(&mut bytes).unwrap();
    bytes
}

/// Tells the parent, and waits for it.
fn stop_at(stage: &str) {
    // The test harness writes to it as well, without ending its line.
    writeln!(io::stdout(), "\n{stage}").unwrap();
    io::stdin().read_line(&mut String::new()).unwrap();
}

/// The names of all threads.
fn threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    // One may end just now.
    tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok()).collect()
}

fn wait_for_threads_to_end() {
    for _ in 0..1000 {
        if threads().iter().all(|name| !name.starts_with("vaultstore")) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("threads keep running: {:?}", threads());
}
