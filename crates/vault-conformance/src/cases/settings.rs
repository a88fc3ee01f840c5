//! The contract of [`VaultStore`] about settings.

use futures::future::join_all;
use vault_store::{PutSetting, VaultStore};

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
