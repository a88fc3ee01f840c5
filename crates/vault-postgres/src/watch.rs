//! Whether a server that does not answer is still there.
//!
//! A machine that loses its power, or a network that forgets a connection, closes nothing: a call
//! would wait for hours. The driver sets no TCP options, so a second connection asks instead. The
//! call goes on as long as the server answers there and runs a statement for this store, which
//! waits for a lock, say.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sqlx::{Connection as _, Executor as _, PgConnection, Row as _, postgres::PgConnectOptions};
use tokio::time;

use crate::error::Fault;

/// How many connections to remember; more than a pool has.
const REMEMBERED: usize = 1024;

/// How long to wait before asking a second time: between two statements nothing runs.
const PAUSE: Duration = Duration::from_secs(1);

/// The server's processes of the connections of a pool.
#[derive(Debug, Default)]
pub(crate) struct Backends(Mutex<Vec<i32>>);

impl Backends {
    /// Remembers a new connection's.
    pub(crate) async fn remember(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let id = connection.fetch_one("SELECT pg_backend_pid()").await?.try_get(0)?;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() == REMEMBERED {
            known.remove(0);
        }
        known.push(id);
        Ok(())
    }

    fn all(&self) -> Vec<i32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns whether the server does not answer, or runs nothing for this pool. Behind a pooler
    /// its processes serve others as well, and say nothing.
    pub(crate) async fn are_gone(
        &self,
        server: &PgConnectOptions,
        timeout: Duration,
        is_pooler: bool,
    ) -> bool {
        for pause in [Duration::ZERO, PAUSE] {
            time::sleep(pause).await;
            match time::timeout(timeout, self.are_at_work(server, is_pooler)).await {
                Ok(Ok(true)) => return false,
                // It answers, if only that it has no room.
                Ok(Err(fault)) if fault.is_answer() => return false,
                Ok(Ok(false) | Err(_)) | Err(_) => {}
            }
        }
        true
    }

    async fn are_at_work(&self, server: &PgConnectOptions, is_pooler: bool) -> Result<bool, Fault> {
        let mut connection = PgConnection::connect_with(server).await?;
        let at_work = is_pooler
            || {
                let ask = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE pid = ANY($1) AND state = 'active')";
                sqlx::query_scalar(ask)
                    .persistent(false)
                    .bind(self.all())
                    .fetch_one(&mut connection)
                    .await?
            };
        let _ = connection.close().await;
        Ok(at_work)
    }
}
