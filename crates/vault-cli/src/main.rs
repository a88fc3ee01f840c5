//! The command vaultstore.

fn main() {}
