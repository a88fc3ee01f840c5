//! redb backend of vaultstore, one file, no server.
