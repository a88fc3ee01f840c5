//! A connection of the pool in a transaction.

use std::time::Duration;

use sqlx::{Executor as _, PgConnection, PgPool, Postgres, pool::PoolConnection};
use tokio::{runtime::Handle, time};

use crate::error::Fault;

/// One atomic change. It is rolled back if it is dropped without an end, as after an error.
///
/// The driver's own transaction is not used: it waits without a limit for the answer to its last
/// words when the connection returns to the pool, where the server may be gone by then, and the
/// pool would have one connection less for good.
pub(crate) struct Transaction {
    /// There is one until it is dropped.
    connection: Option<PoolConnection<Postgres>>,
    has_ended: bool,
    /// How long the connection may take to return to the pool.
    limit: Duration,
}

impl Transaction {
    /// Takes a connection and begins with this statement.
    pub(crate) async fn begin(
        pool: &PgPool,
        statement: &'static str,
        limit: Duration,
    ) -> Result<Self, sqlx::Error> {
        let connection = Some(pool.acquire().await?);
        let mut transaction = Self { connection, has_ended: false, limit };
        transaction.run(statement).await?;
        Ok(transaction)
    }

    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        #[expect(clippy::unreachable, reason = "only a drop takes it")]
        self.connection.as_deref_mut().unwrap_or_else(|| unreachable!("it was dropped"))
    }

    pub(crate) async fn commit(mut self) -> Result<(), Fault> {
        self.run("COMMIT").await.map_err(Fault::in_commit)?;
        self.has_ended = true;
        Ok(())
    }

    pub(crate) async fn abort(mut self) -> Result<(), Fault> {
        self.run("ROLLBACK").await?;
        self.has_ended = true;
        Ok(())
    }

    async fn run(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        self.connection().execute(statement).await.map(|_| ())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let (Some(mut connection), Ok(runtime)) = (self.connection.take(), Handle::try_current())
        else {
            return;
        };
        let has_ended = self.has_ended;
        // Else its own drop would wait without a limit.
        connection.close_on_drop();
        runtime.spawn(time::timeout(self.limit, async move {
            if has_ended || connection.execute("ROLLBACK").await.is_ok() {
                connection.return_to_pool().await;
            }
        }));
    }
}
