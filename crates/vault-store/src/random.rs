//! The system's random number generator.

/// The system's random generator failed; nothing was sealed and nothing written.
#[derive(Debug, thiserror::Error)]
#[error("the system's random number generator failed; nothing was written")]
pub struct RngError(#[source] getrandom::Error);

/// Fills a buffer from the system's CSPRNG.
///
/// # Errors
/// [`RngError`] when the system has none to give; what is in the buffer is then not random.
pub fn fill_random(buffer: &mut [u8]) -> Result<(), RngError> {
    getrandom::fill(buffer).map_err(RngError)
}
