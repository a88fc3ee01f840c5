//! The checks of a run before its first write.

use std::sync::{Arc, atomic::Ordering};
use std::task::{Context, Poll, ready};

use super::super::{
    chain_check::{ChainAsk, ChainChecker, Place, Places},
    error::RekeyError,
    merge_check::{Answer, MergeChecker},
    plan::{Marking, MergeCheck},
    progress::{Asked, Progress},
};
use super::{Asking, Passes, RekeySession, Stage};
use crate::scan::Scan;

impl RekeySession {
    /// Determines the place of the next records in chained pairs.
    pub(super) fn poll_chain(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, RekeyError>> {
        let Stage::Chain(ask) = &mut self.stage else { return Poll::Ready(Ok(true)) };
        if let Some(examined) = ready!(ask.scan.poll_next(cx)).transpose()? {
            for place in &examined.findings {
                ask.places.count(place);
            }
            let of_none = examined.findings.iter().filter_map(Place::mark);
            self.tested.insert(of_none);
            self.count_work(examined.derivations, examined.busy);
            return Poll::Ready(Ok(true));
        }
        if let Some(doubt) = ask.places.doubt(&self.progress, ask.earlier_run, ask.has_first) {
            return Poll::Ready(Err(doubt.into()));
        }
        self.count_time();
        self.read_before = self.report.read_time;
        self.stage =
            self.passes.ask_or_pass(self.asking.take(), &self.progress, self.report.dry_run);
        Poll::Ready(Ok(true))
    }

    /// Checks whether a new password opens the next records.
    pub(super) fn poll_ask(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, RekeyError>> {
        let Stage::Ask(scan, asker) = &mut self.stage else { return Poll::Ready(Ok(true)) };
        let examined = ready!(scan.poll_next(cx)).transpose()?;
        let (unasked, tally) = (unasked(asker), Arc::clone(&asker.tally));
        let marks = asker.marks.clone();
        self.report.merge.unasked = unasked;
        let Some(examined) = examined else {
            self.report.kdf_doubt = tally.doubt();
            if let Some(marks) = marks {
                (self.report.marks, self.report.left) = (marks.marks(), marks.left());
            }
            self.count_time();
            self.progress.asked = Asked::Done { found: self.report.merge.found, unasked };
            self.begin_pass();
            return Poll::Ready(Ok(true));
        };
        self.count_work(examined.derivations, examined.busy);
        for answer in examined.findings {
            self.report.merge.asked += u64::from(!matches!(answer, Answer::Unasked));
            match answer {
                Answer::Opens => self.report.merge.found += 1,
                Answer::Not(mark) => self.tested.insert(mark),
                Answer::Unasked => {}
            }
        }
        Poll::Ready(Ok(true))
    }
}

impl Passes {
    fn ask(&self, asking: Asking) -> Stage {
        let Asking { check, keys, policy, tally, tested, marks, old, .. } = asking;
        let asker = Arc::new(MergeChecker {
            keys,
            policy,
            check,
            shard: self.seeker.shard,
            tally,
            tested,
            marks,
            old,
            unasked: 0.into(),
            bodies: self.seeker.bodies,
        });
        Stage::Ask(self.scan(&asker), asker)
    }

    /// Returns the first check of chained pairs; `None` for others.
    pub(super) fn ask_of_chain(&self, asking: &Asking) -> Option<ChainAsk> {
        if asking.roles.is_empty() {
            return None;
        }
        let checker = ChainChecker {
            keys: asking.roles.clone(),
            policy: asking.policy.clone(),
            shard: self.seeker.shard,
            tested: Arc::clone(&asking.tested),
        };
        Some(ChainAsk {
            scan: self.scan(&Arc::new(checker)),
            places: Places::default(),
            earlier_run: asking.earlier_run,
            has_first: self.seeker.first.is_some(),
        })
    }

    pub(super) fn pass(&self, progress: &Progress) -> Stage {
        Stage::Pass(self.scan(&self.seeker).after(progress.cursor.clone()))
    }

    fn scan<E: crate::scan::Examine>(&self, examiner: &Arc<E>) -> Scan<E> {
        let source = Arc::new(Arc::clone(&self.store));
        let workers = Arc::clone(&self.workers);
        Scan::new(source, Arc::clone(examiner), workers, self.retry.clone(), self.page)
    }

    /// Returns the merge check, unless it was already done, and otherwise the pass.
    pub(super) fn ask_or_pass(
        &self,
        asking: Option<Asking>,
        progress: &Progress,
        dry_run: bool,
    ) -> Stage {
        // A dry run finds the records of the new password during its pass.
        let asks = |asking: &Asking| {
            let marks = asking.marks.is_some() && (asking.upgrades || !dry_run);
            progress.asked == Asked::NotYet
                && match asking.check {
                    MergeCheck::Full => marks || !asking.keys.is_empty(),
                    MergeCheck::Fast => !dry_run && (marks || !asking.keys.is_empty()),
                    MergeCheck::Off => {
                        marks && (asking.upgrades || asking.marking == Marking::Refuse)
                    }
                }
        };
        match asking.filter(asks) {
            Some(asking) => self.ask(asking),
            None => self.pass(progress),
        }
    }
}

fn unasked(asker: &MergeChecker) -> u64 {
    asker.unasked.load(Ordering::Relaxed)
}
