//! Writers that race for one record: exactly one wins, and the other gets an error.
//!
//! Both start at the same time on separate threads, in many rounds. Either may win a round; each
//! case runs until it has seen a loser, and fails if there never is one.

use std::{
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use vault_core::records::Upserted;
use vault_core::{PasswordKey, Vault, VaultError};
use vault_store::Token;

use super::{SetClock, key, new_vault};
use crate::StoreUnderTest;
use crate::samples::seconds;

/// The minimum number of rounds.
const ROUNDS: usize = 24;

/// The maximum number of rounds until both outcomes of a race have occurred.
const MOST_ROUNDS: usize = 2_000;

/// The time on the clock, in seconds.
const NOW: i64 = 1_800_000_000;

struct World<'s, S> {
    subject: &'s S,
    vault: Vault,
    key: Arc<PasswordKey>,
}

impl<'s, S: StoreUnderTest> World<'s, S> {
    async fn new(subject: &'s S) -> Self {
        let store = Arc::new(subject.fresh().await);
        let vault = new_vault(store, &Arc::new(SetClock::at(NOW))).await;
        let key = key(&vault, "password").await;
        Self { subject, vault, key }
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.subject.block_on(future)
    }

    async fn value(&self, token: &Token) -> Vec<u8> {
        self.vault.read(token, &self.key).await.unwrap().as_bytes().to_vec()
    }
}

/// How long one of two racers is held back in a round, so that the slower one wins at times as
/// well, whatever the store's calls take: not at all, then up to 32 ms, in turns.
fn handicap(round: usize, racer: usize) -> Duration {
    match round / 4 % 32 {
        0 => Duration::ZERO,
        step if step % 2 == racer => Duration::from_micros(1 << (step / 2)),
        _ => Duration::ZERO,
    }
}

/// Runs both at the same time, but for their [`handicap`]. The last to reach the barrier continues
/// first, so they take turns at that.
fn race<A: Send, B: Send>(
    round: usize,
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B + Send,
) -> (A, B) {
    let start = Barrier::new(2);
    let start = &start;
    thread::scope(|scope| {
        let one = move || {
            start.wait();
            thread::sleep(handicap(round, 0));
            one()
        };
        let other = move || {
            start.wait();
            thread::sleep(handicap(round, 1));
            other()
        };
        let (one, other) = if round.is_multiple_of(2) {
            let one = scope.spawn(one);
            (one, scope.spawn(other))
        } else {
            let other = scope.spawn(other);
            (scope.spawn(one), other)
        };
        (one.join().unwrap(), other.join().unwrap())
    })
}

fn contested(round: usize) -> Token {
    Token::new(format!("contested {round}")).unwrap()
}

/// Of two creates of one token, exactly one wins; the other gets `TokenTaken`.
pub async fn of_two_creates_of_one_token_exactly_one_wins<S: StoreUnderTest>(subject: &S) {
    let world = World::new(subject).await;
    for round in 0..ROUNDS {
        let token = contested(round);
        let create = |value: &'static [u8]| {
            let create = world.vault.create_with_token(value, &world.key, token.clone(), None);
            world.block_on(create)
        };
        let winner = match race(round, || create(b"one"), || create(b"other")) {
            (Ok(()), Err(VaultError::TokenTaken)) => b"one".to_vec(),
            (Err(VaultError::TokenTaken), Ok(())) => b"other".to_vec(),
            answers => panic!("{answers:?}"),
        };
        assert_eq!(world.value(&token).await, winner);
    }
}

/// Of two upserts of one token, exactly one creates the record. The other updates it, or fails
/// because the record is under another password.
pub async fn of_two_upserts_exactly_one_creates<S: StoreUnderTest>(subject: &S) {
    let world = World::new(subject).await;
    let stranger = key(&world.vault, "another password").await;
    for round in 0..ROUNDS {
        let token = contested(round);
        let with_one_key = round % 4 < 2;
        let rival = if with_one_key { &world.key } else { &stranger };
        let upsert =
            |value: &'static [u8], key| world.block_on(world.vault.upsert(&token, value, key));
        let answers = race(round, || upsert(b"one", &world.key), || upsert(b"other", rival));
        let (value, owner): (&[u8], _) = match answers {
            (Ok(Upserted::Created), Ok(Upserted::Updated)) if with_one_key => {
                (b"other", &world.key)
            }
            (Ok(Upserted::Updated), Ok(Upserted::Created)) if with_one_key => (b"one", &world.key),
            (Ok(Upserted::Created), Err(VaultError::WrongPassword)) => (b"one", &world.key),
            (Err(VaultError::WrongPassword), Ok(Upserted::Created)) => (b"other", rival),
            answers => panic!("{answers:?}"),
        };
        assert_eq!(world.vault.read(&token, owner).await.unwrap().as_bytes(), value);
    }
}

/// An update that a delete overtakes reports it: a deleted record does not come back, and a
/// soft-deleted one holds the new value exactly if the update succeeded.
pub async fn an_update_against_a_delete_is_told<S: StoreUnderTest>(subject: &S) {
    let world = World::new(subject).await;
    let (vault, key) = (&world.vault, &world.key);
    let mut lost = [0, 0];
    for round in 0..MOST_ROUNDS {
        let token = contested(round);
        vault.create_with_token(b"before", key, token.clone(), None).await.unwrap();
        let hard = round % 4 < 2;
        let update = || world.block_on(vault.update(&token, b"after", key));
        let delete = || {
            if hard {
                world.block_on(vault.delete(&token))
            } else {
                world.block_on(vault.soft_delete(&token))
            }
        };
        let (updated, deleted) = race(round, update, delete);
        deleted.unwrap();
        match updated {
            Ok(()) => {}
            Err(VaultError::UnknownToken) if hard => lost[0] += 1,
            Err(VaultError::SoftDeleted) if !hard => lost[1] += 1,
            Err(error) => panic!("{error:?}"),
        }
        if hard {
            assert_eq!(vault.records().find_by_token(&token).await.unwrap(), None);
        } else {
            vault.restore(&token).await.unwrap();
            let expected: &[u8] = if updated.is_ok() { b"after" } else { b"before" };
            assert_eq!(world.value(&token).await, expected);
        }
        if round >= ROUNDS && lost.iter().all(|lost| *lost > 0) {
            return;
        }
    }
    panic!("in {MOST_ROUNDS} rounds no racer lost: {lost:?}");
}

/// Of a renewal and a purge of one expired record, exactly one wins: the record lives and nothing
/// was purged, or it is gone and the renewal fails.
pub async fn a_renewal_against_a_purge_is_told<S: StoreUnderTest>(subject: &S) {
    let world = World::new(subject).await;
    let (vault, key) = (&world.vault, &world.key);
    let (mut lost, mut lived) = ([0, 0], 0);
    for round in 0..MOST_ROUNDS {
        let token = contested(round);
        let expired = Some(seconds(NOW));
        vault.create_with_token(b"value", key, token.clone(), expired).await.unwrap();
        let hard = round % 4 < 2;
        let renew = || world.block_on(vault.renew(&token, Some(seconds(NOW + 1))));
        let purge = || {
            if hard {
                world.block_on(vault.delete_expired())
            } else {
                world.block_on(vault.soft_delete_expired())
            }
        };
        let (renewed, purged) = race(round, renew, purge);
        match (renewed, purged.unwrap()) {
            (Ok(()), 0) => {
                lived += 1;
                assert_eq!(world.value(&token).await, b"value");
            }
            (Err(VaultError::UnknownToken), 1) if hard => lost[0] += 1,
            (Err(VaultError::SoftDeleted), 1) if !hard => lost[1] += 1,
            answers => panic!("{answers:?}"),
        }
        // Nothing expired is left to the next round's purge.
        vault.delete_expired().await.unwrap();
        if round >= ROUNDS && lived > 0 && lost.iter().all(|lost| *lost > 0) {
            return;
        }
    }
    panic!("in {MOST_ROUNDS} rounds no racer lost: {lost:?} lost, {lived} lived");
}
