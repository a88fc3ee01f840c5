//! The system's random number generator.

/// The system's random number generator failed. Nothing was sealed or written.
#[derive(Debug, thiserror::Error)]
#[error("the system's random number generator failed, and nothing was encrypted with it")]
pub struct RngError(#[source] getrandom::Error);

/// Fills a buffer from the system's CSPRNG.
///
/// # Errors
/// [`RngError`] if the system has no randomness to give. The contents of the buffer are then not
/// random.
pub fn fill_random(buffer: &mut [u8]) -> Result<(), RngError> {
    getrandom::fill(buffer).map_err(RngError)
}
