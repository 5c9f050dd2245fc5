//! The random steps.

use std::time::Duration;

use domain::{Outcome, Priority};
use proptest::prelude::*;

#[derive(Debug, Clone)]
pub(super) enum Step {
    Create {
        priority: Priority,
        max_attempts: u32,
        in_ms: Option<u64>,
        key: Option<u8>,
        taken: bool,
    },
    Apply(Vec<(usize, Ask)>),
    Dispatch {
        limit: u32,
    },
    Sweep,
    Pause,
    Resume,
    Wait {
        ms: u64,
    },
    /// The clock is set back by more than any order waits. Once, because a row does not record the number of steps.
    SetBack {
        hours: i64,
    },
    /// The present tables are copied ...
    Backup,
    /// ... and restored, while the store continues and still caches lost rows.
    Restore,
}

/// A command of a worker that may be late: `back` is the number of tokens drawn since for the order; 0 is the latest.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    Start,
    StartAgain { back: usize },
    Heartbeat { back: usize },
    Finish { back: usize, how: How },
    Undeliver { back: usize },
    Cancel,
    Redrive { in_ms: Option<u64> },
}

#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    Done,
    Retry,
    RetryIn { ms: u64 },
    Fail,
    Release,
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let how = prop_oneof![
        4 => Just(How::Done),
        3 => Just(How::Retry),
        2 => (0..20_000_u64).prop_map(|ms| How::RetryIn { ms }),
        1 => Just(How::Fail),
        1 => Just(How::Release),
    ];
    let ask = prop_oneof![
        6 => Just(Ask::Start),
        1 => (0..3_usize).prop_map(|back| Ask::StartAgain { back }),
        2 => (0..3_usize).prop_map(|back| Ask::Heartbeat { back }),
        5 => (0..2_usize, how).prop_map(|(back, how)| Ask::Finish { back, how }),
        1 => (0..2_usize).prop_map(|back| Ask::Undeliver { back }),
        1 => Just(Ask::Cancel),
        2 => prop::option::of(0..20_000_u64).prop_map(|in_ms| Ask::Redrive { in_ms }),
    ];
    let priority = prop::sample::select(Priority::ALL.to_vec());
    let create = (
        priority,
        1..4_u32,
        prop::option::weighted(0.3, 0..20_000_u64),
        prop::option::weighted(0.4, 0..3_u8),
        any::<bool>(),
    );
    let step = prop_oneof![
        3 => create.prop_map(|(priority, max_attempts, in_ms, key, taken)| Step::Create { priority, max_attempts, in_ms, key, taken }),
        8 => prop::collection::vec((0..4_usize, ask), 1..5).prop_map(Step::Apply),
        2 => (1..6_u32).prop_map(|limit| Step::Dispatch { limit }),
        2 => Just(Step::Sweep),
        1 => Just(Step::Pause),
        2 => Just(Step::Resume),
        4 => (0..40_000_u64).prop_map(|ms| Step::Wait { ms }),
        1 => (1..30_i64).prop_map(|hours| Step::SetBack { hours }),
        1 => Just(Step::Backup),
        1 => Just(Step::Restore),
    ];
    prop::collection::vec(step, 1..40)
}

pub(super) fn outcome(how: How) -> Outcome {
    let reason = || "it broke".to_owned();
    match how {
        How::Done => Outcome::Completed,
        How::Retry => Outcome::Retry { reason: reason(), class: None, after: None },
        How::RetryIn { ms } => {
            Outcome::Retry { reason: reason(), class: None, after: Some(Duration::from_millis(ms)) }
        }
        How::Fail => Outcome::Failed { reason: reason(), class: None },
        How::Release => Outcome::Released,
    }
}
