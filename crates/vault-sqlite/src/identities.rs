//! The password identities that one version of the Go package left in the settings table.

use std::sync::Arc;

use sqlx::{Row as _, SqliteConnection};
use vault_store::{PasswordIdentities, PurgedIdentities, Remains, RemainsKind, StoreError};

use crate::error::Fault;
use crate::schema::MetaTable;
use crate::shared::Shared;
use crate::statements::{Statement, Statements};

/// Everything about a password itself.
pub(crate) const IDENTITIES: &str =
    "SELECT count(*) FROM {meta} WHERE object_type = 'password_identity'";
/// What says which record belongs to one.
pub(crate) const LINKS: &str =
    "SELECT count(*) FROM {meta} WHERE object_type = 'record' AND meta_key = 'password_id'";
pub(crate) const DELETE_IDENTITIES: &str =
    "DELETE FROM {meta} WHERE object_type = 'password_identity'";
pub(crate) const DELETE_LINKS: &str =
    "DELETE FROM {meta} WHERE object_type = 'record' AND meta_key = 'password_id'";

pub(crate) async fn count(shared: &Arc<Shared>) -> Result<PasswordIdentities, StoreError> {
    if shared.meta != MetaTable::Present {
        return Ok(PasswordIdentities::default());
    }
    shared.read(|connection, statements| Box::pin(counted(connection, statements))).await
}

async fn counted(
    connection: &mut SqliteConnection,
    statements: &Statements,
) -> Result<PasswordIdentities, Fault> {
    Ok(PasswordIdentities {
        identities: number(connection, &statements.password_identities).await?,
        links: number(connection, &statements.password_links).await?,
    })
}

async fn number(connection: &mut SqliteConnection, statement: &Statement) -> Result<u64, Fault> {
    let row = statement.query().fetch_one(connection).await?;
    Ok(row.try_get::<i64, _>(0)?.unsigned_abs())
}

/// Deletes the rows, whose pages are cleared (`secure_delete`), and then empties the log, which
/// still holds them.
pub(crate) async fn purge(shared: &Arc<Shared>) -> Result<PurgedIdentities, StoreError> {
    if shared.meta != MetaTable::Present {
        return Ok(PurgedIdentities::default());
    }
    let removed =
        shared.write(|connection, statements| Box::pin(deleted(connection, statements))).await?;
    let mut purged = PurgedIdentities::of(removed);
    // Also if nothing was left to remove: an earlier purge may have met a reader.
    if !shared.empty_log().await? {
        purged.remains.push(
            Remains::new(
                RemainsKind::InUse,
                "the log next to the file may still hold removed rows: another process uses the vault",
            )
            .remedy("close the other programs, then run the same command again"),
        );
    }
    Ok(purged)
}

async fn deleted(
    connection: &mut SqliteConnection,
    statements: &Statements,
) -> Result<PasswordIdentities, Fault> {
    let links = statements.purge_password_links.query().execute(&mut *connection).await?;
    let identities = statements.purge_password_identities.query().execute(connection).await?;
    Ok(PasswordIdentities { identities: identities.rows_affected(), links: links.rows_affected() })
}
