//! What a store is given is returned unchanged: envelopes, ids, tokens and settings.

use vault_store::{
    PutSetting, Record, RecordSink, RecordSource, Replacement, VaultStore, WriteOutcome,
};

use crate::StoreUnderTest;
use crate::samples::{WIDE, envelope, fill, list_all, record, records, replacement, sealed, token};

/// "The store never interprets an envelope": it stores any text, well-formed or not, and compares
/// it as bytes.
pub async fn the_store_never_looks_into_an_envelope<S: StoreUnderTest>(subject: &S) {
    let texts = [
        "",
        " ",
        "\n",
        "  v3:padded  \r\n",
        "v1:",
        "v2:m=1,t=1,p=1:AAAA",
        "v3:not base64!",
        "v4:from the future",
        "$argon2id$v=19$m=4294967295,t=1,p=1$",
        "NULL",
        "0",
        "1e3",
        "{\"json\": [1, 2]}",
        "'; DROP TABLE vault; --",
        "\\x00\\u0000",
        "e\u{301} é ﬁ 🔑 \u{202e}",
    ];
    let store = subject.fresh().await;
    let mut records = records(texts.len());
    for (record, text) in records.iter_mut().zip(texts) {
        record.envelope = envelope(text);
    }
    fill(&store, &records).await;
    assert_eq!(list_all(&store, WIDE).await, records);

    // Each text is replaced by the next one.
    let next = texts.iter().cycle().skip(1);
    let batch: Vec<_> =
        records.iter().zip(next).map(|(record, text)| replacement(record, text)).collect();
    let outcomes = store.swap_batch(batch.clone().into()).await.unwrap();
    assert_eq!(outcomes, vec![WriteOutcome::Applied; texts.len()]);
    for (record, replacement) in records.iter_mut().zip(batch) {
        record.envelope = replacement.new;
    }
    assert_eq!(list_all(&store, WIDE).await, records);
}

/// An envelope of 1 MiB is written, compared and read like any other.
pub async fn a_large_envelope_comes_back_unchanged<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let large = |last: char| envelope(&("x".repeat((1 << 20) - 1) + &last.to_string()));
    let mut stored = Record { envelope: large('a'), ..record("large") };
    fill(&store, std::slice::from_ref(&stored)).await;
    assert_eq!(list_all(&store, WIDE).await, std::slice::from_ref(&stored));

    let other = Replacement {
        id: stored.id.clone(),
        expected: large('b'), // differs in the last byte only
        new: large('c'),
    };
    assert_eq!(store.swap_batch([other].into()).await.unwrap(), [WriteOutcome::Conflict]);
    let same = Replacement { id: stored.id.clone(), expected: stored.envelope, new: large('d') };
    assert_eq!(store.swap_batch([same].into()).await.unwrap(), [WriteOutcome::Applied]);
    stored.envelope = large('d');
    let subject_sees = store.read_page(None, WIDE).await.unwrap();
    assert_eq!(subject_sees, [sealed(&stored)]);
}

/// Ids, tokens and settings are data: quotes, wildcards, look-alikes and 255 bytes have no meaning
/// for the store.
pub async fn hostile_texts_come_back_unchanged<S: StoreUnderTest>(subject: &S) {
    let long = "é".repeat(127) + "x"; // 255 bytes
    let almost = "é".repeat(127) + "y";
    let texts = [
        "'",
        "\"",
        "`",
        "''",
        ";",
        "--",
        "/*",
        "\\",
        "\\'",
        "%",
        "_",
        "%_",
        "$1",
        "?",
        "?1",
        ":a",
        "{}",
        "' OR '1'='1",
        "'; DROP TABLE vault; --",
        "NULL",
        "null",
        "1",
        "01",
        "1.0",
        "true",
        "a",
        "A",
        "a ",
        " a",
        "a\n",
        "a\t",
        "é",
        "e\u{301}",
        "ß",
        "SS",
        "ﬁ",
        "fi",
        "🔑",
        "\u{202e}",
        "\u{feff}",
        "\u{200b}",
        "../../etc/passwd",
        &long,
        &almost,
    ];
    let store = subject.fresh().await;
    let mut records = texts.map(|text| Record { token: token(text), ..record(text) });
    fill(&store, &records).await;
    records.sort_by(|one, other| one.id.cmp(&other.id));
    assert_eq!(list_all(&store, WIDE).await, records);

    for record in &records {
        let found = store.find(std::slice::from_ref(&record.token)).await.unwrap();
        assert_eq!(found, [Some(record.clone())]);
        let read = store.read_records(std::slice::from_ref(&record.id)).await.unwrap();
        assert_eq!(read, [Some(sealed(record))]);
        let batch = [replacement(record, record.id.as_str())];
        assert_eq!(store.swap_batch(batch.into()).await.unwrap(), [WriteOutcome::Applied]);
    }
    for record in &mut records {
        record.envelope = envelope(record.id.as_str());
    }
    assert_eq!(list_all(&store, WIDE).await, records);

    for text in texts {
        store.put_setting(text, text, PutSetting::Always).await.unwrap();
    }
    let settings: Vec<_> = records.iter().map(|r| (r.id.to_string(), r.id.to_string())).collect();
    assert_eq!(store.settings().await.unwrap(), settings);
    for text in texts {
        assert_eq!(store.setting(text).await.unwrap().as_deref(), Some(text));
    }
}
