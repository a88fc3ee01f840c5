//! The contract of [`VaultStore`] about settings.

use futures::future::join_all;
use vault_store::{
    MAX_KEY_LEN, MAX_SETTING_LEN, MAX_SETTINGS, PutSetting, StoreErrorKind, VaultStore,
};

use crate::StoreUnderTest;

/// "Returns the value of a setting", the last one put with `Always`; a setting that was never put
/// has none.
pub async fn a_setting_holds_what_was_put_last<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    assert_eq!(store.setting("format").await.unwrap(), None);
    for value in ["v2", "", "v3"] {
        let stored = store.put_setting("format", value, PutSetting::Always).await.unwrap();
        assert_eq!(stored, value);
        assert_eq!(store.setting("format").await.unwrap().as_deref(), Some(value));
    }
    assert_eq!(store.setting("Format").await.unwrap(), None);
}

/// "`IfAbsent`: write only if the setting does not exist"; an empty value exists.
pub async fn if_absent_keeps_what_is_stored<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    for first in ["first", ""] {
        let name = format!("named {first}");
        let stored = store.put_setting(&name, first, PutSetting::IfAbsent).await.unwrap();
        assert_eq!(stored, first);
        let stored = store.put_setting(&name, "second", PutSetting::IfAbsent).await.unwrap();
        assert_eq!(stored, first);
        assert_eq!(store.setting(&name).await.unwrap().as_deref(), Some(first));
    }
}

/// "So that two processes that open a new vault agree": all callers get the one value that is
/// stored.
pub async fn two_callers_of_if_absent_agree<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    for round in 0..10 {
        let name = format!("setting {round}");
        let values = ["0", "1", "2", "3"];
        let answers =
            join_all(values.map(|value| store.put_setting(&name, value, PutSetting::IfAbsent)))
                .await;
        let stored = store.setting(&name).await.unwrap().unwrap();
        assert!(values.contains(&stored.as_str()));
        for answer in answers {
            assert_eq!(answer.unwrap(), stored);
        }
    }
}

/// "In one atomic step, if none of these names is stored. Returns `false` if any is; then nothing
/// is written." Of several concurrent calls, exactly one writes all.
pub async fn settings_of_a_new_vault_are_written_all_or_none<S: StoreUnderTest>(subject: &S) {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let store = subject.fresh().await;
    store.put_setting("b", "stored", PutSetting::Always).await.unwrap();
    let refused = [pair("a", "1"), pair("b", "2"), pair("c", "3")];
    assert!(!store.init_settings(&refused).await.unwrap());
    assert_eq!(store.settings().await.unwrap(), [pair("b", "stored")]);

    let store = subject.fresh().await;
    let all = ["0", "1", "2", "3"].map(|value| [pair("format", value), pair("kdf", value)]);
    let answers = join_all(all.iter().map(|settings| store.init_settings(settings))).await;
    let won: Vec<_> =
        answers.into_iter().zip(&all).filter(|(won, _)| *won.as_ref().unwrap()).collect();
    assert_eq!(won.len(), 1);
    let store = subject.reopen(store).await;
    assert_eq!(store.settings().await.unwrap(), *won[0].1);
}

/// "Returns all settings in the order of their names."
pub async fn settings_come_in_the_order_of_their_names<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    assert_eq!(store.settings().await.unwrap(), []);
    for name in ["b", "a", "B", "ab", "é", "z", "a"] {
        store.put_setting(name, &format!("value of {name}"), PutSetting::Always).await.unwrap();
    }
    let expected =
        ["B", "a", "ab", "b", "z", "é"].map(|name| (name.to_owned(), format!("value of {name}")));
    assert_eq!(store.settings().await.unwrap(), expected);
}

/// "What would not be read again is refused": long values and names, and more settings than are
/// read.
pub async fn settings_are_bounded_in_number_and_length<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let longest = "é".repeat(MAX_SETTING_LEN / 2);
    store.put_setting("longest", &longest, PutSetting::Always).await.unwrap();
    assert_eq!(store.setting("longest").await.unwrap(), Some(longest.clone()));
    let long_name = "n".repeat(MAX_KEY_LEN + 1);
    for (name, value) in [("longest", longest.clone() + "x"), (&long_name, String::new())] {
        for put in [PutSetting::Always, PutSetting::IfAbsent] {
            let refused = store.put_setting(name, &value, put).await.map_err(|error| error.kind());
            assert_eq!(refused, Err(StoreErrorKind::Unsupported));
        }
    }
    assert_eq!(store.settings().await.unwrap(), [("longest".to_owned(), longest)]);
    for number in 1..MAX_SETTINGS {
        store.put_setting(&format!("s{number}"), "", PutSetting::IfAbsent).await.unwrap();
    }
    let refused = store.put_setting("more", "", PutSetting::Always).await;
    assert_eq!(refused.map_err(|error| error.kind()), Err(StoreErrorKind::Unsupported));
    store.put_setting("longest", "short", PutSetting::Always).await.unwrap();
    let settings = store.settings().await.unwrap();
    assert_eq!((settings.len(), settings[0].1.as_str()), (MAX_SETTINGS, "short"));
}
