//! Read operations, each within one read transaction.

use futures::TryStreamExt as _;
use sqlx::{
    Row as _, Sqlite, SqliteConnection,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};
use vault_store::{
    EnvelopeText, HasRoom, MAX_SETTINGS, OverLimit, Page, PageBuilder, PageLimit, Record,
    RecordHead, RecordId, SealedRecord, Token,
};
use vault_store::{WriteHook, WriteHookKind};

use crate::error::Fault;
use crate::packed::Packed;
use crate::record::{self, INLINE_LEN, Listed, Stored};
use crate::statements::{Statement, Statements};

/// Reads a page of ids, tokens and envelopes.
pub(crate) async fn sealed_page(
    connection: &mut SqliteConnection,
    statements: &Statements,
    after: Option<&RecordId>,
    limit: PageLimit,
) -> Result<Page<SealedRecord>, Fault> {
    let statement = match after {
        None => &statements.first_sealed,
        Some(_) => &statements.next_sealed,
    };
    let query = |offset| Ok(page_of(statement, after, limit, offset));
    let page = rows(connection, query, limit).await?;
    check_order(after, page.iter().map(|record: &SealedRecord| &record.id))?;
    fetch_long(connection, statements, page).await
}

/// Reads a page of ids and of the heads of envelopes.
pub(crate) async fn heads_page(
    connection: &mut SqliteConnection,
    statements: &Statements,
    after: Option<&RecordId>,
    limit: PageLimit,
) -> Result<Page<RecordHead>, Fault> {
    let statement = match after {
        None => &statements.first_heads,
        Some(_) => &statements.next_heads,
    };
    let query = |offset| Ok(page_of(statement, after, limit, offset));
    let page = rows(connection, query, limit).await?;
    check_order(after, page.iter().map(|record: &RecordHead| &record.id))?;
    Ok(page)
}

/// A damaged index gives rows in another order, and a reader that pages on from the last one might
/// never come to an end.
fn check_order<'a>(
    after: Option<&'a RecordId>,
    ids: impl Iterator<Item = &'a RecordId>,
) -> Result<(), Fault> {
    let ascend = after.into_iter().chain(ids).is_sorted_by(|one, next| one < next);
    if ascend { Ok(()) } else { Err(Fault::Disordered) }
}

/// Reads a page of whole records.
pub(crate) async fn record_page(
    connection: &mut SqliteConnection,
    statements: &Statements,
    after: Option<&RecordId>,
    limit: PageLimit,
) -> Result<Page<Record>, Fault> {
    let statement = match after {
        None => &statements.first_whole,
        Some(_) => &statements.next_whole,
    };
    let query = |offset| Ok(page_of(statement, after, limit, offset));
    let page = rows(connection, query, limit).await?;
    check_order(after, page.iter().map(|record: &Record| &record.id))?;
    fetch_long(connection, statements, page).await
}

/// Reads the tokens and envelopes of some ids.
pub(crate) async fn sealed_records(
    connection: &mut SqliteConnection,
    statements: &Statements,
    ids: &[RecordId],
) -> Result<Vec<Option<SealedRecord>>, Fault> {
    let packed = Packed::rows(ids.iter().map(|id| [id.as_bytes()]));
    lookup(connection, statements, &statements.sealed_by_id, packed, ids.len()).await
}

/// Reads the records of some tokens.
pub(crate) async fn find(
    connection: &mut SqliteConnection,
    statements: &Statements,
    tokens: &[Token],
) -> Result<Vec<Option<Record>>, Fault> {
    let packed = Packed::rows(tokens.iter().map(|token| [token.as_str().as_bytes()]));
    lookup(connection, statements, &statements.whole_by_token, packed, tokens.len()).await
}

/// Returns the number of records.
pub(crate) async fn count(
    connection: &mut SqliteConnection,
    statements: &Statements,
) -> Result<u64, Fault> {
    let row = statements.count.query().fetch_one(connection).await?;
    Ok(row.try_get::<i64, _>(0)?.unsigned_abs())
}

/// Reads one setting.
pub(crate) async fn setting(
    connection: &mut SqliteConnection,
    statements: &Statements,
    name: &str,
) -> Result<Option<String>, Fault> {
    let row = statements.setting.query().bind(name).fetch_optional(connection).await?;
    row.map(|row| setting_value(&row, 0, name)).transpose()
}

/// Reads all settings, by name.
pub(crate) async fn settings(
    connection: &mut SqliteConnection,
    statements: &Statements,
) -> Result<Vec<(String, String)>, Fault> {
    let mut rows = statements.settings.query().fetch(connection);
    let mut all: Vec<(String, String)> = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let Some(name) = setting_text(&row, 0, None)? else {
            let len = row.try_get::<i64, _>(1)?.unsigned_abs();
            return Err(OverLimit::StoredSettingName { len }.into());
        };
        if all.last().is_none_or(|(last, _)| *last != name) {
            let value = setting_value(&row, 2, &name)?;
            all.push((name, value));
        }
        if all.len() > MAX_SETTINGS {
            return Err(OverLimit::StoredSettings.into());
        }
    }
    Ok(all)
}

/// The value in a column, with its length in the next one; a value that is too long was not loaded.
fn setting_value(row: &SqliteRow, column: usize, name: &str) -> Result<String, Fault> {
    let len = row.try_get::<Option<i64>, _>(column + 1)?.unwrap_or(0);
    OverLimit::check_stored_setting(name, len.unsigned_abs())?;
    Ok(setting_text(row, column, Some(name))?.unwrap_or_default())
}

/// Text of the table of settings, where another program can have put bytes; with the name of the
/// setting for an error about its value.
fn setting_text(row: &SqliteRow, column: usize, of: Option<&str>) -> Result<Option<String>, Fault> {
    match row.try_get(column) {
        Err(sqlx::Error::ColumnDecode { .. }) => Err(Fault::SettingNotText(of.map(str::to_owned))),
        text => Ok(text?),
    }
}

/// Returns the triggers that replacing an envelope fires, including indirectly.
pub(crate) async fn hooks(
    connection: &mut SqliteConnection,
    statements: &Statements,
) -> Result<Vec<WriteHook>, Fault> {
    const NAME: &str = "-- TRIGGER ";
    /// The opcodes that occur in every program that changes a table or a virtual table.
    const WRITES: [&str; 2] = ["OpenWrite", "VUpdate"];
    // An EXPLAIN opens no transaction, and so does not notice that others changed the schema. A
    // read does.
    statements.triggers.query().fetch_all(&mut *connection).await?;
    let mut rows = statements.replacement_plan.query().fetch(connection);
    let mut hooks: Vec<WriteHook> = Vec::new();
    // The program of each trigger follows its name; that of the statement itself comes before the
    // first.
    let mut program = None;
    while let Some(row) = rows.try_next().await? {
        let text = row.try_get_unchecked::<Option<String>, _>("p4")?;
        if let Some(name) = text.as_deref().and_then(|text| text.strip_prefix(NAME)) {
            let known = hooks.iter().position(|hook| hook.name == name);
            program = Some(known.unwrap_or(hooks.len()));
            if known.is_none() {
                hooks.push(WriteHook::new(WriteHookKind::Check, name));
            }
        }
        let opcode = row.try_get_unchecked::<String, _>("opcode")?;
        if let Some(hook) = program.and_then(|at| hooks.get_mut(at))
            && WRITES.contains(&opcode.as_str())
        {
            hook.kind = WriteHookKind::Trigger;
        }
    }
    Ok(hooks)
}

fn page_of<'q>(
    statement: &Statement,
    after: Option<&'q RecordId>,
    limit: PageLimit,
    offset: u64,
) -> Query<'q, Sqlite, SqliteArguments> {
    let most = i64::try_from(limit.records.get()).unwrap_or(i64::MAX);
    let offset = i64::try_from(offset).unwrap_or(i64::MAX);
    statement.query().bind(after.map(RecordId::as_str)).bind(most).bind(INLINE).bind(offset)
}

/// Reads the records of a page, as far as they fit, without their long envelopes, and names the
/// unreadable rows.
///
/// `query` makes the query for a number of rows to skip. If all rows of one query are unreadable,
/// the next ones are read, because a page without records means the end.
pub(crate) async fn rows<'q, T: Listed>(
    connection: &mut SqliteConnection,
    query: impl Fn(u64) -> Result<Query<'q, Sqlite, SqliteArguments>, Fault>,
    limit: PageLimit,
) -> Result<Page<T>, Fault> {
    let mut page = PageBuilder::new(limit);
    let mut seen = 0usize;
    loop {
        let begin = seen;
        let mut rows = query(begin as u64)?.fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            seen += 1;
            if let Some(reason) = record::unreadable(&row)? {
                page.unreadable(|| record::row_name(&row), reason);
                continue;
            }
            let record = T::decode(&row)?;
            if page.push_as(record.full_weight(), record) == HasRoom::No {
                break;
            }
        }
        if !page.is_empty() || seen - begin < limit.records.get() {
            return Ok(page.finish());
        }
    }
}

/// Looks up the packed ids or tokens. Of several records with one token, which old tables do not
/// prevent, it returns the one with the smallest id.
async fn lookup<T: Stored>(
    connection: &mut SqliteConnection,
    statements: &Statements,
    statement: &Statement,
    packed: Packed,
    len: usize,
) -> Result<Vec<Option<T>>, Fault> {
    let (places, texts) = packed.into_parameters();
    let mut found: Vec<Option<T>> = Vec::new();
    found.resize_with(len, || None);
    {
        let query = statement.query().bind(places).bind(texts).bind(INLINE);
        let mut rows = query.fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            let record = T::decode(&row)?;
            let slot = usize::try_from(row.try_get::<i64, _>(T::KEY)?).unwrap_or(usize::MAX);
            if let Some(slot) = found.get_mut(slot)
                && slot.as_ref().is_none_or(|other| record.id() < other.id())
            {
                *slot = Some(record);
            }
        }
    }
    for record in found.iter_mut().flatten() {
        fetch_if_long(connection, statements, record).await?;
    }
    Ok(found)
}

/// Fetches the long envelopes of a page.
pub(crate) async fn fetch_long<T: Stored>(
    connection: &mut SqliteConnection,
    statements: &Statements,
    mut page: Page<T>,
) -> Result<Page<T>, Fault> {
    for record in &mut page.records {
        fetch_if_long(connection, statements, record).await?;
    }
    Ok(page)
}

async fn fetch_if_long<T: Stored>(
    connection: &mut SqliteConnection,
    statements: &Statements,
    record: &mut T,
) -> Result<(), Fault> {
    if record::len_to_fetch(record.envelope_mut()).is_none() {
        return Ok(());
    }
    let query = statements.envelope.query().bind(record.id().as_str());
    let row = query.fetch_one(connection).await?;
    *record.envelope_mut() = EnvelopeText::from_stored(record::bytes(&row, 0)?.unwrap_or_default());
    Ok(())
}

#[expect(clippy::cast_possible_wrap, reason = "a constant of 64 KiB")]
pub(crate) const INLINE: i64 = INLINE_LEN as i64;
