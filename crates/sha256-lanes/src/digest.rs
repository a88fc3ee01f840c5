//! Digests of many messages at once.

use std::slice;

use sha2::block_api::compress256;
use zeroize::Zeroizing;

use crate::block::{BLOCK_LEN, DIGEST_LEN, State};
use crate::lanes::{LANES, Lanes};
use crate::message::Message;

/// Returns the digests of all messages, in order.
#[must_use]
pub fn digests(messages: &[Message<'_>]) -> Zeroizing<Vec<[u8; DIGEST_LEN]>> {
    match Lanes::of_this_processor() {
        Some(lanes) => digests_in(lanes, messages),
        None => Zeroizing::new(
            messages.iter().map(|message| alone(message, 0, message.begin())).collect(),
        ),
    }
}

/// A message being hashed in a lane.
#[derive(Clone, Copy)]
struct Place {
    message: usize,
    next_block: usize,
    blocks: usize,
}

/// A lane that finishes takes the next message, so that short and long ones mix. When only one
/// message is left, lanes no longer help.
fn digests_in(mut lanes: Lanes, messages: &[Message<'_>]) -> Zeroizing<Vec<[u8; DIGEST_LEN]>> {
    let mut digests = Zeroizing::new(vec![[0; DIGEST_LEN]; messages.len()]);
    let mut places: [Option<Place>; LANES] = [None; LANES];
    let mut waiting = messages.iter().enumerate();
    let mut space = Zeroizing::new([0; BLOCK_LEN]);
    loop {
        let mut busy = 0;
        for (lane, place) in places.iter_mut().enumerate() {
            if place.is_none()
                && let Some((number, message)) = waiting.next()
            {
                lanes.put_state(lane, message.begin());
                *place = Some(Place { message: number, next_block: 0, blocks: message.blocks() });
            }
            if let Some(Place { message, next_block, .. }) = *place {
                lanes.put_block(lane, messages[message].block(next_block, &mut space));
                busy += 1;
            }
        }
        if busy <= 1 {
            break;
        }
        lanes.compress();
        for (lane, slot) in places.iter_mut().enumerate() {
            if let Some(place) = slot {
                place.next_block += 1;
                if place.next_block == place.blocks {
                    digests[place.message] = to_bytes(&lanes.state(lane));
                    *slot = None;
                }
            }
        }
    }
    for (lane, place) in places.iter().enumerate() {
        if let Some(Place { message, next_block, .. }) = *place {
            digests[message] = alone(&messages[message], next_block, &lanes.state(lane));
        }
    }
    digests
}

/// Hashes a message from one of its blocks onwards.
fn alone(message: &Message<'_>, from: usize, state: &State) -> [u8; DIGEST_LEN] {
    let mut state = Zeroizing::new(*state);
    let mut space = Zeroizing::new([0; BLOCK_LEN]);
    for number in from..message.blocks() {
        compress256(&mut state, slice::from_ref(message.block(number, &mut space)));
    }
    to_bytes(&state)
}

fn to_bytes(state: &State) -> [u8; DIGEST_LEN] {
    let mut bytes = [0; DIGEST_LEN];
    for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use sha2::{Digest as _, Sha256};

    use super::*;

    /// Both implementations, whatever this processor would choose.
    fn both(messages: &[Message<'_>]) -> [Vec<[u8; DIGEST_LEN]>; 2] {
        let alone = messages.iter().map(|message| alone(message, 0, message.begin())).collect();
        [digests_in(Lanes::any(), messages).to_vec(), alone]
    }

    fn expected(parts: [&[u8]; 2]) -> [u8; DIGEST_LEN] {
        Sha256::new().chain_update(parts[0]).chain_update(parts[1]).finalize().into()
    }

    #[test]
    fn every_length_up_to_1000_is_hashed_as_by_sha2() {
        let bytes: Vec<u8> = (0..1000u32).map(|n| n.to_le_bytes()[0] ^ 0x5a).collect();
        let messages: Vec<_> = (0..=1000).map(|len| Message::new([&bytes[..len], &[]])).collect();
        for digests in both(&messages) {
            assert_eq!(digests.len(), 1001);
            for (len, digest) in digests.iter().enumerate() {
                assert_eq!(*digest, expected([&bytes[..len], &[]]), "{len} bytes");
            }
        }
    }

    #[test]
    fn the_examples_of_the_standard() {
        // FIPS 180-2, appendix B.1 and B.2, and the empty message
        let cases: [(&[u8], [u128; 2]); 3] = [
            (
                b"abc",
                [
                    0xba78_16bf_8f01_cfea_4141_40de_5dae_2223,
                    0xb003_61a3_9617_7a9c_b410_ff61_f200_15ad,
                ],
            ),
            (
                b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                [
                    0x248d_6a61_d206_38b8_e5c0_2693_0c3e_6039,
                    0xa33c_e459_64ff_2167_f6ec_edd4_19db_06c1,
                ],
            ),
            (
                b"",
                [
                    0xe3b0_c442_98fc_1c14_9afb_f4c8_996f_b924,
                    0x27ae_41e4_649b_934c_a495_991b_7852_b855,
                ],
            ),
        ];
        let messages: Vec<_> =
            cases.iter().cycle().take(24).map(|(bytes, _)| Message::new([bytes, &[]])).collect();
        for digests in both(&messages) {
            for (digest, (_, expected)) in digests.iter().zip(cases.iter().cycle()) {
                assert_eq!(*digest.as_slice(), expected.map(u128::to_be_bytes).concat());
            }
        }
    }

    proptest! {
        #[test]
        fn mixed_lengths_in_two_parts_are_hashed_as_by_sha2(
            messages in vec((vec(any::<u8>(), 0..300), vec(any::<u8>(), 0..300)), 0..40),
        ) {
            let parts = || messages.iter().map(|(a, b)| [a.as_slice(), b.as_slice()]);
            let expected: Vec<_> = parts().map(expected).collect();
            let messages: Vec<_> = parts().map(Message::new).collect();
            for digests in both(&messages) {
                prop_assert_eq!(&digests, &expected);
            }
        }
    }
}
