use super::*;
use proptest::prelude::*;

const NOW: i64 = 1_700_000_000_000_000;

fn now() -> Timestamp {
    Timestamp::from_micros(NOW)
}

fn state(status: Status) -> OrderState {
    let leased = matches!(status, Status::Processing | Status::Completed | Status::Failed);
    OrderState {
        status,
        version: 2,
        attempt: 1,
        failures: 0,
        max_attempts: 3,
        lease: leased.then(|| LeaseToken::from_i64(7).unwrap()),
        due_at: (!status.is_final()).then(|| now() + Duration::from_secs(5)),
        not_before: now(),
        process_after: None,
        updated_at: now(),
    }
}

fn run(state: &OrderState, command: Command) -> Decision {
    decide(state, &command, now(), &Rules::default(), u32::MAX)
}

fn changed(decision: Decision) -> Change {
    match decision {
        Decision::Change(change) => change,
        other => panic!("expected a change, got {other:?}"),
    }
}

/// The result of every command in every status, in one table.
#[test]
fn every_command_in_every_status() {
    use Refusal::*;
    use Status::*;
    let mine = LeaseToken::from_i64(7).unwrap();
    let other = LeaseToken::from_i64(8).unwrap();
    let done = |lease| Command::Finish { lease, outcome: Outcome::Completed };
    let retry = |lease| Command::Finish {
        lease,
        outcome: Outcome::Retry { reason: "x".into(), class: None, after: None },
    };
    let fail =
        |lease| Command::Finish { lease, outcome: Outcome::Failed { reason: "x".into(), class: None } };
    let release = |lease| Command::Finish { lease, outcome: Outcome::Released };
    let cancel = || Command::Cancel { reason: None, requester: None };
    let redrive = || Command::Redrive { reason: None, not_before: None, requester: None };
    let to = Ok::<Status, Option<Refusal>>;
    let no = |refusal| Err(Some(refusal));
    let repeat = Err(None);
    for (from, command, expected) in [
        (Pending, Command::start(other), to(Processing)),
        (Pending, done(mine), no(StaleLease(Pending))),
        (Pending, Command::Expire, no(NotExpired)),
        (Pending, Command::Undeliver { lease: mine }, no(StaleLease(Pending))),
        (Pending, cancel(), to(Cancelled)),
        (Pending, redrive(), no(NotFailed(Pending))),
        (Processing, Command::start(mine), repeat),
        (Processing, Command::start(other), no(AlreadyStarted)),
        (Processing, done(mine), to(Completed)),
        (Processing, retry(mine), to(Pending)),
        (Processing, fail(mine), to(Failed)),
        (Processing, release(mine), to(Pending)),
        (Processing, done(other), no(StaleLease(Processing))),
        (Processing, Command::Heartbeat { lease: other }, no(StaleLease(Processing))),
        (Processing, Command::Expire, no(NotExpired)),
        (Processing, Command::Undeliver { lease: mine }, to(Pending)),
        (Processing, Command::Undeliver { lease: other }, no(StaleLease(Processing))),
        (Processing, cancel(), to(Cancelled)),
        (Processing, redrive(), no(NotFailed(Processing))),
        (Completed, Command::start(other), no(Final(Completed))),
        (Completed, done(mine), repeat),
        (Completed, done(other), no(StaleLease(Completed))),
        (Completed, Command::Heartbeat { lease: mine }, no(StaleLease(Completed))),
        (Completed, Command::Expire, no(NotExpired)),
        (Completed, Command::Undeliver { lease: mine }, no(StaleLease(Completed))),
        (Completed, cancel(), no(Final(Completed))),
        (Completed, redrive(), no(NotFailed(Completed))),
        (Failed, Command::start(other), no(Final(Failed))),
        (Failed, fail(mine), repeat),
        (Failed, done(mine), no(StaleLease(Failed))),
        (Failed, release(mine), no(StaleLease(Failed))),
        (Completed, fail(mine), no(StaleLease(Completed))),
        (Completed, retry(mine), no(StaleLease(Completed))),
        (Failed, Command::Expire, no(NotExpired)),
        (Failed, cancel(), no(Final(Failed))),
        (Failed, redrive(), to(Pending)),
        (Cancelled, Command::start(other), no(Final(Cancelled))),
        (Cancelled, done(mine), no(StaleLease(Cancelled))),
        (Cancelled, Command::Expire, no(NotExpired)),
        (Cancelled, cancel(), repeat),
        (Cancelled, redrive(), no(NotFailed(Cancelled))),
    ] {
        let got = match run(&state(from), command.clone()) {
            Decision::Change(change) => Ok(change.status),
            Decision::Refuse(refusal) => Err(Some(refusal)),
            Decision::Repeat => Err(None),
            Decision::Renew(_) | Decision::Postpone(..) => panic!("{from:?} {command:?} moved"),
        };
        assert_eq!(got, expected, "{from:?} {command:?}");
    }
}

/// The response to a report was lost, and the worker repeats it: only the recorded outcome is accepted.
#[test]
fn report_with_the_recorded_outcome_is_a_repetition() {
    let lease = LeaseToken::from_i64(7).unwrap();
    let retry = Outcome::Retry { reason: "x".into(), class: None, after: None };
    let failed = Outcome::Failed { reason: "x".into(), class: None };
    let outcomes = [Outcome::Completed, retry.clone(), failed.clone(), Outcome::Released];
    let waiting = OrderState { lease: Some(lease), failures: 1, ..state(Status::Pending) };
    let exhausted = OrderState { failures: 3, ..state(Status::Failed) };
    for (state, repeated) in [
        (state(Status::Completed), vec![Outcome::Completed]),
        (state(Status::Failed), vec![failed.clone()]),
        (exhausted, vec![failed, retry.clone()]),
        (waiting, vec![retry, Outcome::Released]),
    ] {
        for outcome in &outcomes {
            let expected = match repeated.contains(outcome) {
                true => Decision::Repeat,
                false => Decision::Refuse(Refusal::StaleLease(state.status)),
            };
            let command = Command::Finish { lease, outcome: outcome.clone() };
            assert_eq!(run(&state, command), expected, "{outcome:?} of {state:?}");
        }
    }
}

#[test]
fn heartbeat_renews_the_lease() {
    let mine = LeaseToken::from_i64(7).unwrap();
    let end = now() + Duration::from_secs(30);
    assert_eq!(run(&state(Status::Processing), Command::Heartbeat { lease: mine }), Decision::Renew(end));
    let checkpoint = JsonText::parse("{}").unwrap();
    let save = |lease| Command::Checkpoint { lease, checkpoint: checkpoint.clone() };
    assert_eq!(run(&state(Status::Processing), save(mine)), Decision::Renew(end));
    let stale = Decision::Refuse(Refusal::StaleLease(Status::Completed));
    assert_eq!(run(&state(Status::Completed), save(mine)), stale);
}

#[test]
fn start_before_the_earliest_start_is_refused() {
    let start = |not_before| {
        let lease = LeaseToken::from_i64(1).unwrap();
        run(&OrderState { not_before, ..state(Status::Pending) }, Command::start(lease))
    };
    // The clock of another gateway may differ by this much.
    let nearly = now() + CLOCK_TOLERANCE;
    assert_eq!(changed(start(nearly)).status, Status::Processing);
    let later = nearly + Duration::from_micros(1);
    assert_eq!(start(later), Decision::Refuse(Refusal::NotYet(later)));
}

#[test]
fn postponed_attempt_is_no_failure_up_to_the_limit() {
    let lease = LeaseToken::from_i64(7).unwrap();
    let hour = Duration::from_secs(3_600);
    let report = |after| Outcome::Retry { reason: "busy".into(), class: Some("http_503".into()), after };
    let finish =
        |state: &OrderState, after| changed(run(state, Command::Finish { lease, outcome: report(after) }));
    let last = OrderState { max_attempts: 1, attempt: 1, failures: 0, ..state(Status::Processing) };
    let postponed = finish(&last, Some(hour));
    assert_eq!((postponed.status, postponed.failures), (Status::Pending, 0));
    assert_eq!((postponed.not_before, postponed.due_at), (now() + hour, Some(now() + hour)));
    assert_eq!(postponed.error_class.as_deref(), Some("http_503"));
    for after in [None, Some(Duration::ZERO)] {
        assert_eq!(finish(&last, after).status, Status::Failed);
    }
    let often = OrderState { attempt: MAX_POSTPONEMENTS, ..last };
    assert_eq!(finish(&often, Some(hour)).failures, 0);
    let too_often = OrderState { attempt: MAX_POSTPONEMENTS + 1, ..last };
    assert_eq!(finish(&too_often, Some(hour)).status, Status::Failed);
    let counted = finish(&OrderState { max_attempts: 5, ..too_often }, Some(hour));
    assert_eq!((counted.failures, counted.not_before), (1, now() + hour));
}

#[test]
fn late_repeated_start_is_refused() {
    let lease = LeaseToken::from_i64(7).unwrap();
    let outcome = Outcome::Retry { reason: "x".into(), class: None, after: Some(Duration::ZERO) };
    let change = changed(run(&state(Status::Processing), Command::Finish { lease, outcome }));
    let waiting = OrderState { lease: change.lease, ..state(Status::Pending) };
    let stale = Decision::Refuse(Refusal::StaleLease(Status::Pending));
    assert_eq!(run(&waiting, Command::start(lease)), stale);
    let other = LeaseToken::from_i64(8).unwrap();
    assert_eq!(changed(run(&waiting, Command::start(other))).status, Status::Processing);
}

#[test]
fn scheduled_order_has_no_clock_tolerance() {
    let start = |at: Timestamp| {
        let scheduled =
            OrderState { attempt: 0, not_before: at, process_after: Some(at), ..state(Status::Pending) };
        run(&scheduled, Command::start(LeaseToken::from_i64(1).unwrap()))
    };
    assert_eq!(changed(start(now())).status, Status::Processing);
    let next = now() + Duration::from_micros(1);
    assert_eq!(start(next), Decision::Refuse(Refusal::NotYet(next)));
}

#[test]
fn paused_queue_postpones_the_order() {
    let paused = Rules { paused: true, ..Rules::default() };
    let decide = |state: &OrderState, command| decide(state, &command, now(), &paused, 0);
    let waiting = state(Status::Pending);
    let lease = LeaseToken::from_i64(7).unwrap();
    let start = || Command::start(lease);
    assert_eq!(decide(&waiting, start()), Decision::Postpone(Refusal::Paused, waiting.not_before));
    // Running attempts continue, and a repeated Start gets the same response.
    let running = state(Status::Processing);
    assert_eq!(decide(&running, start()), Decision::Repeat);
    let done = Command::Finish { lease, outcome: Outcome::Completed };
    assert_eq!(changed(decide(&running, done)).status, Status::Completed);
}

#[test]
fn undelivered_attempt_does_not_count() {
    let before = state(Status::Processing);
    let change = changed(run(&before, Command::Undeliver { lease: before.lease.unwrap() }));
    assert_eq!((change.status, change.attempt), (Status::Pending, before.attempt - 1));
    assert_eq!((change.failures, change.lease), (before.failures, None));
    assert_eq!((change.due_at, change.not_before), (Some(now()), now()));
    assert_eq!((change.reason.as_deref(), change.error_class), (Some(UNDELIVERED), None));
    // Each further event pair without an attempt is an undelivered one.
    let version = 2 * (before.attempt + MAX_UNDELIVERED);
    let often = OrderState { version, ..before };
    let change = changed(run(&often, Command::Undeliver { lease: before.lease.unwrap() }));
    assert_eq!((change.attempt, change.failures), (before.attempt, before.failures + 1));
    assert_eq!(change.error_class.as_deref(), Some(CLASS_UNDELIVERED));
    let last = OrderState { version: version - 1, ..before };
    let change = changed(run(&last, Command::Undeliver { lease: before.lease.unwrap() }));
    assert_eq!(change.failures, before.failures);
}

#[test]
fn expired_lease_is_a_failure_and_removes_the_token() {
    let expired = OrderState { due_at: Some(now()), ..state(Status::Processing) };
    let change = changed(run(&expired, Command::Expire));
    assert_eq!((change.status, change.failures, change.lease), (Status::Pending, 1, None));
    assert_eq!(change.due_at, Some(now() + Duration::from_secs(1)));
    let last = OrderState { failures: 2, ..expired };
    let change = changed(run(&last, Command::Expire));
    assert_eq!((change.status, change.failures, change.due_at), (Status::Failed, 3, None));
    assert_eq!(change.error_class.as_deref(), Some(CLASS_LEASE_EXPIRED));
}

#[test]
fn only_a_failure_has_an_error_class() {
    let lease = LeaseToken::from_i64(7).unwrap();
    let fail = |class: Option<&str>| {
        let outcome = Outcome::Failed { reason: "x".into(), class: class.map(Into::into) };
        changed(run(&state(Status::Processing), Command::Finish { lease, outcome })).error_class
    };
    assert_eq!(fail(Some("card_declined")).as_deref(), Some("card_declined"));
    assert_eq!(fail(Some(" \n ")).as_deref(), Some(CLASS_ERROR));
    assert_eq!(fail(None).as_deref(), Some(CLASS_ERROR));
    let done = Command::Finish { lease, outcome: Outcome::Completed };
    assert_eq!(changed(run(&state(Status::Processing), done)).error_class, None);
}

#[test]
fn release_is_no_failure() {
    let lease = LeaseToken::from_i64(7).unwrap();
    let last = OrderState { failures: 2, ..state(Status::Processing) };
    let change = changed(run(&last, Command::Finish { lease, outcome: Outcome::Released }));
    assert_eq!((change.status, change.failures, change.due_at), (Status::Pending, 2, Some(now())));
}

#[test]
fn redrive_resets_the_failures() {
    let dead = OrderState { failures: 3, ..state(Status::Failed) };
    let redrive = |not_before| {
        changed(run(&dead, Command::Redrive { reason: Some("by Ann".into()), not_before, requester: None }))
    };
    let change = redrive(None);
    assert_eq!((change.failures, change.due_at, change.lease), (0, Some(now()), None));
    assert_eq!(change.reason.as_deref(), Some("by Ann"));
    let later = now() + Duration::from_secs(9);
    assert_eq!((redrive(Some(later)).due_at, redrive(Some(later)).not_before), (Some(later), later));
    assert_eq!(redrive(Some(Timestamp::from_micros(1))).due_at, Some(now()));
}

/// The clock was set back by an hour after these orders were last changed.
#[test]
fn clock_set_back_delays_no_order() {
    let hour = Duration::from_secs(3_600);
    let lease = LeaseToken::from_i64(9).unwrap();
    let start = |state: &OrderState| decide(state, &Command::start(lease), now(), &Rules::default(), 0);
    let later = now() + hour;
    let fresh = OrderState { attempt: 0, not_before: later, updated_at: later, ..state(Status::Pending) };
    assert_eq!(wait_after_clock_step(&fresh, now()), Some(Duration::ZERO));
    assert_eq!(changed(start(&fresh)).status, Status::Processing);
    let retried = OrderState { attempt: 1, not_before: later + hour, ..fresh };
    assert_eq!(wait_after_clock_step(&retried, now()), Some(hour));
    // A retry after the step has a delay of the present clock, which applies.
    let wait = OrderState { not_before: now() + Duration::from_secs(9), ..retried };
    assert_eq!(wait_after_clock_step(&wait, now()), None);
    assert_eq!(start(&wait), Decision::Refuse(Refusal::NotYet(wait.not_before)));
    // A schedule applies exactly, until the order has been started once.
    let scheduled = OrderState { process_after: Some(later), ..fresh };
    assert_eq!(start(&scheduled), Decision::Refuse(Refusal::NotYet(later)));
    let started = OrderState { process_after: Some(later), ..retried };
    assert_eq!(changed(start(&started)).status, Status::Processing);
    // A pause used up its job: it is pushed again immediately and not in an hour.
    let paused = Rules { paused: true, ..Rules::default() };
    let postponed = decide(&fresh, &Command::start(lease), now(), &paused, 0);
    assert_eq!(postponed, Decision::Postpone(Refusal::Paused, now()));
}

fn any_command() -> impl Strategy<Value = Command> {
    let lease = (1..4_i64).prop_filter_map("not 0", LeaseToken::from_i64);
    let outcome = prop_oneof![
        Just(Outcome::Completed),
        Just(Outcome::CompletedWith(JsonText::parse("[]").unwrap())),
        Just(Outcome::Released),
        "[a-z]{0,9}".prop_map(|reason| Outcome::Failed { reason, class: None }),
        ("[a-z]{0,9}", prop::option::of(0..1_000_u64)).prop_map(|(reason, after)| Outcome::Retry {
            reason,
            class: None,
            after: after.map(Duration::from_secs)
        }),
    ];
    prop_oneof![
        lease.clone().prop_map(Command::start),
        lease.clone().prop_map(|lease| Command::Heartbeat { lease }),
        lease.clone().prop_map(|lease| {
            let checkpoint = JsonText::parse("{}").unwrap();
            Command::Checkpoint { lease, checkpoint }
        }),
        lease.clone().prop_map(|lease| Command::Undeliver { lease }),
        (lease, outcome).prop_map(|(lease, outcome)| Command::Finish { lease, outcome }),
        Just(Command::Expire),
        Just(Command::Cancel { reason: None, requester: None }),
        prop::option::of(0..2 * NOW).prop_map(|at| Command::Redrive {
            reason: None,
            not_before: at.map(Timestamp::from_micros),
            requester: None
        }),
    ]
}

proptest! {
    /// For any sequence of commands, each change is a declared transition, final orders are never due, and all other
    /// orders are always due.
    #[test]
    fn invariants_hold_after_any_commands(
        steps in prop::collection::vec(
            (any_command(), 0..60_000_000_i64, any::<u32>(), any::<bool>()),
            1..60,
        )
    ) {
        let mut state = OrderState { attempt: 0, lease: None, due_at: Some(now()), ..state(Status::Pending) };
        let mut at = NOW;
        for (command, wait, random, paused) in steps {
            let rules = Rules { paused, ..Rules::default() };
            at += wait;
            let clock = Timestamp::from_micros(at);
            match decide(&state, &command, clock, &rules, random) {
                Decision::Change(change) => {
                    prop_assert!(state.status.can_become(change.status));
                    state = OrderState {
                        status: change.status,
                        version: state.version + 1,
                        attempt: change.attempt,
                        failures: change.failures,
                        max_attempts: state.max_attempts,
                        lease: change.lease,
                        due_at: change.due_at,
                        not_before: change.not_before,
                        process_after: state.process_after,
                        updated_at: clock.max(state.updated_at),
                    };
                }
                Decision::Postpone(_, until) => {
                    prop_assert!(paused && state.status == Status::Pending);
                    state.due_at = Some(until);
                }
                Decision::Renew(until) => {
                    prop_assert_eq!(state.status, Status::Processing);
                    state.due_at = Some(until);
                }
                Decision::Repeat | Decision::Refuse(_) => {}
            }
            prop_assert_eq!(state.status.is_final(), state.due_at.is_none());
            prop_assert!(state.failures <= state.max_attempts);
            prop_assert!(state.failures <= state.attempt);
        }
    }
}
