//! The checks and benches of vaultstore's workspace.

fn main() {}
