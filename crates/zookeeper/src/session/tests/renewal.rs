//! How long a session is trusted, and what renews it.

use super::*;

#[test]
fn an_idle_session_is_renewed_by_what_the_leader_must_know() {
    let mut stage = Stage::live();
    let (mut touched, mut xid) = (vec![stage.now], 1);
    for beat in 1..8 {
        stage.pass(TIMEOUT / BEATS);
        assert_eq!(opcodes(&stage.written), [9]);
        touched.push(stage.now);
        stage.forget();
        stage.input(Input::Received(answer(xid, 9, 0, &[0, 0, 0, 1, b'/'])));
        // What was answered a quarter of the time-out before this was sent is passed on by now: what
        // is asked at once shows that the leader knows.
        assert_eq!(opcodes(&stage.written).len(), usize::from(beat > 2), "beat {beat}");
        assert_eq!(stage.told, []);
        xid += 1;
        for _ in stage.written.clone() {
            stage.input(Input::Received(answer(xid, 9, 0, &[0, 0, 0, 1, b'/'])));
            xid += 1;
        }
        let known = touched[usize::try_from(beat).unwrap().saturating_sub(2)];
        let live = Event::Live { session: 0x1f, trusted_until: known + 3_900 };
        assert_eq!(stage.told, Vec::from_iter((beat > 2).then_some(live)), "beat {beat}");
        stage.forget();
    }
}

/// A follower that hears nothing from its leader, and is heard: what it is asked is done, and it
/// tells of it late. Until then it was not asked whom it has heard.
#[test]
fn what_is_answered_late_all_at_once_does_not_renew_a_session() {
    let mut stage = Stage::live();
    for _ in 0..4 {
        stage.pass(TIMEOUT / BEATS);
    }
    assert_eq!(opcodes(&stage.written), [9; 4]);
    for beat in 1..5 {
        stage.input(Input::Received(answer(beat, 9, 0, &[0, 0, 0, 1, b'/'])));
    }
    let is_renewed =
        |stage: &Stage| stage.told.iter().any(|event| matches!(event, Event::Live { .. }));
    assert!(!is_renewed(&stage), "{:?}", stage.told);
    // Nor does the next answer: all may have arrived together just now, and nobody was asked since.
    stage.pass(TIMEOUT / BEATS);
    stage.input(Input::Received(answer(5, 9, 0, &[0, 0, 0, 1, b'/'])));
    assert!(!is_renewed(&stage), "{:?}", stage.told);
    assert_eq!(opcodes(&stage.written), [9; 5]);
    // By the one after it the follower was asked, and by what is asked at once it was heard.
    stage.pass(TIMEOUT / BEATS);
    stage.input(Input::Received(answer(6, 9, 0, &[0, 0, 0, 1, b'/'])));
    assert!(!is_renewed(&stage), "{:?}", stage.told);
    assert_eq!(opcodes(&stage.written), [9; 7]);
    stage.input(Input::Received(answer(7, 9, 0, &[0, 0, 0, 1, b'/'])));
    assert!(is_renewed(&stage), "{:?}", stage.told);
}

/// A follower that is cut off from its leader goes on answering reads.
#[test]
fn reads_alone_prove_nothing_and_put_no_beat_off() {
    let mut stage = Stage::live();
    // The first a little more than a twentieth of the time-out after the opening: worth a word.
    for (xid, millis) in [(1, 201), (2, 399)] {
        stage.pass(millis);
        stage.ask(1, Request::Exists("/a".into()));
        stage.input(Input::Received(answer(xid, 9, 0, &[0; 68])));
    }
    assert!(stage.told.iter().all(|event| !matches!(event, Event::Live { .. })));
    stage.forget();
    stage.pass(66);
    assert_eq!(opcodes(&stage.written), [9]);
    stage.told.clear();
    stage.pass(300);
    stage.input(Input::Received(answer(3, 9, 0, &[0, 0, 0, 1, b'/'])));
    // Sent two thirds of a second after the opening, which the leader itself did.
    assert_eq!(stage.told, []);
    stage.pass(336);
    stage.delete(2);
    stage.forget();
    stage.input(Input::Received(answer(4, 9, 0, &[])));
    assert!(matches!(stage.told[..], [Event::Reply { .. }]), "{:?}", stage.told);
    // What was read is passed on by now; only what is asked from here on shows that it was heard.
    assert_eq!(opcodes(&stage.written), [9]);
    stage.forget();
    stage.input(Input::Received(answer(5, 9, 0, &[0, 0, 0, 1, b'/'])));
    let read = 1_000 + 201;
    assert_eq!(stage.told, [Event::Live { session: 0x1f, trusted_until: read + 3_900 }]);
}

/// What a follower answers to a write by itself shows nothing of its leader.
#[test]
fn what_a_follower_refuses_by_itself_proves_nothing() {
    let mut stage = Stage::live();
    for xid in 1..3 {
        stage.pass(600);
        stage.delete(1);
        stage.input(Input::Received(answer(xid, 9, 0, &[])));
    }
    stage.pass(520);
    // The first was answered long enough ago that a leader's word would show that it was told.
    for (xid, code) in (3..).zip([Code::NO_AUTH, Code::THROTTLED_OP, Code::SESSION_MOVED]) {
        stage.forget();
        stage.delete(2);
        stage.input(Input::Received(answer(xid, 9, code.0, &[])));
        assert_eq!(opcodes(&stage.written), [2], "{code}: no proof is sought");
    }
    stage.forget();
    stage.delete(2);
    stage.input(Input::Received(answer(6, 9, 0, &[])));
    assert_eq!(opcodes(&stage.written), [2, 9], "it is now");
}
