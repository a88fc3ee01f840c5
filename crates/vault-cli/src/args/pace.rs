//! How fast a run over a whole vault may go.

use std::{num::NonZeroU64, time::Duration};

use clap::Args;

use super::parse;

/// For databases that others use at the same time.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Pace")]
pub(crate) struct PaceArgs {
    /// Go through at most this many records per second, for a database that others use at the same
    /// time
    #[arg(long, value_name = "N", value_parser = parse::positive)]
    pub(crate) max_rate: Option<NonZeroU64>,
    /// Wait after each page of records, as in 200ms or 2s
    #[arg(long, value_name = "TIME", value_parser = parse::pause)]
    pub(crate) pause: Option<Duration>,
}
