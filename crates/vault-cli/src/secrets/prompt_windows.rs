//! Password prompts on Windows, through a crate that disables the echo of the console.
//!
//! It fills a `String` of its own, so copies of a typed password may stay in memory until they are
//! overwritten. Password files and commands do not have this limitation.

use std::io;

use zeroize::Zeroizing;

use super::role::Prompt;
use crate::exit::Failure;

/// Prompts for a password on the console.
pub(super) fn ask(prompt: Prompt) -> Result<Zeroizing<Vec<u8>>, Failure> {
    match prompt {
        Prompt::Known(role) => ask_once(role.label(), ""),
        Prompt::New(role) => {
            let what = role.label();
            let first = ask_once(what, "")?;
            let second = ask_once(what, " (again)")?;
            if *first != *second {
                return Err(Failure::usage("the two passwords differ"));
            }
            Ok(first)
        }
    }
}

fn ask_once(what: &str, again: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let typed = rpassword::prompt_password(format!("{what}{again}: ")).map_err(|error| {
        if error.kind() == io::ErrorKind::Interrupted {
            return Failure::interrupted();
        }
        Failure::failed("the console could not be read").because(error)
    })?;
    Ok(Zeroizing::new(typed.into_bytes()))
}

/// The prompt restores the echo itself.
pub(crate) fn restore_terminal() {}
