//! A web service that keeps a user's key for the duration of a session.
//!
//! Deriving a key from a password costs an Argon2id computation, on purpose; using a key costs
//! microseconds. So a session keeps the key, for a limited time, and every request within it is
//! cheap. This cache belongs to the application: only the application knows its users and how long
//! they may be away.
//!
//! ```sh
//! cargo run --example web_service
//! session=$(curl -s --data-binary 'correct horse' localhost:3000/session)
//! token=$(curl -s -H "Authorization: Bearer $session" --data-binary 'battery staple' localhost:3000/secrets)
//! curl -s -H "Authorization: Bearer $session" "localhost:3000/secrets/$token"
//! ```
//!
//! A real service uses TLS, limits the rate at which sessions can be requested, and does not keep
//! its vault in memory.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    routing::{get, post},
};
use vaultstore::token::TokenLength;
use vaultstore::{
    CreateOptions, InitOptions, MemoryStore, Password, PasswordKey, Token, Vault, VaultError,
    VaultOptions,
};

/// The lifetime of a session. Using it does not extend it, so that a stolen one ends too.
const SESSION: Duration = Duration::from_mins(10);

/// Maximum number of concurrent sessions; each holds one key of a few hundred bytes.
const MOST_SESSIONS: usize = 10_000;

/// The state shared by all requests.
struct Service {
    vault: Vault,
    sessions: Sessions,
}

/// Keys by session name, with the time at which each session ends.
#[derive(Default)]
struct Sessions(Mutex<HashMap<Token, (Instant, Arc<PasswordKey>)>>);

impl Sessions {
    /// Starts a session; `None` if there are too many.
    fn begin(&self, name: Token, key: Arc<PasswordKey>) -> Option<()> {
        let now = Instant::now();
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A key is wiped when its last holder drops it.
        sessions.retain(|_, (end, _)| *end > now);
        if sessions.len() >= MOST_SESSIONS {
            return None;
        }
        sessions.insert(name, (now + SESSION, key));
        Some(())
    }

    fn key(&self, name: &Token) -> Option<Arc<PasswordKey>> {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (end, key) = sessions.get(name)?;
        (*end > Instant::now()).then(|| Arc::clone(key))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let vault =
        Vault::init(MemoryStore::new(), InitOptions::default(), VaultOptions::default()).await?;
    let service = Arc::new(Service { vault, sessions: Sessions::default() });
    let routes = Router::new()
        .route("/session", post(begin))
        .route("/secrets", post(create))
        .route("/secrets/{token}", get(read))
        .with_state(service);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, routes).await?;
    Ok(())
}

/// Exchanges a password for a session: one Argon2id, on the vault's own thread.
async fn begin(State(service): State<Arc<Service>>, password: Bytes) -> Result<String, StatusCode> {
    let key =
        service.vault.derive_key(Password::new(password)).await.map_err(|error| status(&error))?;
    let length = TokenLength::new(TokenLength::MAX).map_err(|_| failed())?;
    let name = Token::generate(length).map_err(|_| failed())?;
    service.sessions.begin(name.clone(), key).ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(name.to_string())
}

/// Stores the body of the request and returns its token.
async fn create(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    value: Bytes,
) -> Result<(StatusCode, String), StatusCode> {
    let key = key_of(&service, &headers)?;
    let created = service.vault.create(&value, &key, CreateOptions::default()).await;
    let token = created.map_err(|error| status(&error))?;
    Ok((StatusCode::CREATED, token.to_string()))
}

/// Returns the value of a token, byte for byte. Users get the same answer in every other case.
async fn read(
    State(service): State<Arc<Service>>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<Vec<u8>, StatusCode> {
    let key = key_of(&service, &headers)?;
    let token = Token::new(token).map_err(|_| StatusCode::NOT_FOUND)?;
    let value = service.vault.read_or_none(&token, &key).await.map_err(|error| status(&error))?;
    value.map(|value| value.as_bytes().to_vec()).ok_or(StatusCode::NOT_FOUND)
}

fn key_of(service: &Service, headers: &HeaderMap) -> Result<Arc<PasswordKey>, StatusCode> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    bearer
        .and_then(|value| value.strip_prefix("Bearer "))
        .and_then(|name| Token::new(name).ok())
        .and_then(|name| service.sessions.key(&name))
        .ok_or(StatusCode::UNAUTHORIZED)
}

fn status(error: &VaultError) -> StatusCode {
    match error {
        VaultError::PasswordPolicyViolation(_) | VaultError::Seal(_) => StatusCode::BAD_REQUEST,
        VaultError::Store(error) if error.kind().is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
        _ => failed(),
    }
}

fn failed() -> StatusCode {
    StatusCode::INTERNAL_SERVER_ERROR
}
