//! What runs over a whole vault: rekey, census and copy.

pub(crate) mod census;
pub(crate) mod copy;
pub(crate) mod probe;
pub(crate) mod rekey;
pub(crate) mod settings;
