//! Padmé padding, which limits what the length of a v3 envelope reveals about its value.

use zeroize::Zeroizing;

/// How the plaintext of a v3 envelope is padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Padding {
    /// None: the length of the value is visible.
    #[default]
    None,
    /// Padmé (Nikitin, Barman, Lueks, Underwood, Hubaux, Ford: *Reducing Metadata Leakage from
    /// Encrypted Files and Communication with PURBs*, PETS 2019, §4): reveals only O(log log) bits
    /// of the length, for up to 12 % more bytes.
    Padme,
}

/// The number of bytes for the value's length, which precedes a padded value.
const LEN_LEN: usize = 4;

impl Padding {
    /// Returns the length of the plaintext for a value of this length; `None` if no plaintext can
    /// hold it.
    pub(crate) fn plaintext_len(self, value_len: usize) -> Option<usize> {
        match self {
            Self::None => Some(value_len),
            Self::Padme => {
                u32::try_from(value_len).ok()?;
                padme(value_len.checked_add(LEN_LEN)?)
            }
        }
    }

    /// Appends the plaintext of a value. The buffer must have enough capacity, so that no
    /// reallocation leaves a copy behind.
    pub(crate) fn append(self, value: &[u8], buffer: &mut Vec<u8>) -> Option<()> {
        let end = buffer.len().checked_add(self.plaintext_len(value.len())?)?;
        debug_assert!(
            buffer.capacity() >= end,
            "a reallocation would leave a copy of the value behind"
        );
        if self == Self::Padme {
            buffer.extend_from_slice(&u32::try_from(value.len()).ok()?.to_be_bytes());
        }
        buffer.extend_from_slice(value);
        buffer.resize(end, 0);
        Some(())
    }

    /// Extracts the value from its plaintext; `None` if it is not padded as a writer would.
    pub(crate) fn remove(self, plaintext: Zeroizing<Vec<u8>>) -> Option<Zeroizing<Vec<u8>>> {
        if self == Self::None {
            return Some(plaintext);
        }
        let (len, rest) = plaintext.split_first_chunk::<LEN_LEN>()?;
        let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        let (value, zeros) = rest.split_at_checked(len)?;
        let canonical =
            self.plaintext_len(len) == Some(plaintext.len()) && zeros.iter().all(|byte| *byte == 0);
        canonical.then(|| Zeroizing::new(value.to_vec()))
    }
}

/// Returns the Padmé length of `len` bytes: its binary form has as few significant bits as `len`
/// has bits to count them.
fn padme(len: usize) -> Option<usize> {
    let Some(exponent) = len.checked_ilog2().filter(|exponent| *exponent > 0) else {
        return Some(len);
    };
    // the paper's E, S and E - S
    let zeros = exponent - (exponent.ilog2() + 1);
    let mask = (1usize << zeros) - 1;
    Some(len.checked_add(mask)? & !mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padme_lengths_are_those_of_the_paper() {
        let pairs =
            [(0, 0), (1, 1), (2, 2), (8, 8), (9, 10), (100, 104), (1000, 1024), (1025, 1088)];
        for (len, padded) in pairs {
            assert_eq!(padme(len), Some(padded), "{len}");
        }
    }

    #[test]
    fn padding_costs_at_most_12_percent_and_never_shrinks() {
        for len in 1..100_000 {
            let padded = padme(len).unwrap();
            assert!(padded >= len && (padded - len) * 100 <= 12 * len, "{len} {padded}");
            assert_eq!(padme(padded), Some(padded));
        }
        assert_eq!(padme(usize::MAX), None);
    }

    #[test]
    fn only_what_a_writer_pads_is_a_padded_value() {
        let pad = |value: &[u8]| {
            let mut buffer = Vec::with_capacity(Padding::Padme.plaintext_len(value.len()).unwrap());
            Padding::Padme.append(value, &mut buffer).unwrap();
            buffer
        };
        let remove = |bytes: &[u8]| Padding::Padme.remove(Zeroizing::new(bytes.to_vec()));
        for len in [0, 1, 5, 6, 100, 1000] {
            let value = vec![7; len];
            assert_eq!(remove(&pad(&value)).unwrap().as_slice(), value);
        }
        let mut longer = pad(&[7; 6]);
        longer.push(0);
        let mut dirty = pad(&[7; 7]);
        assert_eq!(dirty.len(), 12);
        *dirty.last_mut().unwrap() = 1;
        for bad in [&longer[..], &dirty, &[0, 0, 0], &[0, 0, 0, 9, 1], &[255; 8], &[]] {
            assert!(remove(bad).is_none(), "{bad:?}");
        }
    }
}
