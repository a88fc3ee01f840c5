//! The contract of a vaultstore backend as a test suite.
