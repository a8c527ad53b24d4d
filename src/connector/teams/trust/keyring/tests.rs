use proptest::prelude::*;
use serde_json::json;

use super::*;

const OPENID: &str = "https://login.example.org/.well-known/openid-configuration";
const JWKS: &str = "https://login.example.org/keys";

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_795_225_034_000).plus(Duration::from_secs(seconds))
}

fn metadata() -> Input {
    let body = Bytes::from(json!({"issuer": "x", "jwks_uri": JWKS}).to_string());
    Input::Fetched(Fetch::Metadata(OPENID.into()), Ok(body))
}

fn keys(kid: &str) -> Input {
    let key = json!({"kty": "RSA", "kid": kid, "e": "AQAB", "n": format!("{}A", "_w".repeat(171))});
    Input::Fetched(Fetch::Keys(JWKS.into()), Ok(Bytes::from(json!({ "keys": [key] }).to_string())))
}

fn asks_for_metadata(actions: &[Action]) -> bool {
    actions == [Action::Fetch(Fetch::Metadata(OPENID.into()))]
}

fn refresh(ring: &mut KeyRing, kid: &str, now: Timestamp) {
    assert_eq!(ring.handle(metadata(), now), [Action::Fetch(Fetch::Keys(JWKS.into()))]);
    assert_eq!(ring.handle(keys(kid), now), [Action::Settled { fresh: true }]);
}

#[test]
fn keys_are_fetched_at_the_start_and_every_twelve_hours() {
    let mut ring = KeyRing::new(OPENID);
    assert!(ring.failing());
    assert!(asks_for_metadata(&ring.handle(Input::Tick, at(0))));
    assert!(ring.refreshing());
    assert!(ring.handle(Input::Tick, at(1)).is_empty(), "one refresh at a time");
    refresh(&mut ring, "k1", at(2));
    assert!(!ring.failing() && !ring.refreshing());
    assert_eq!(ring.keys().map(KeySet::len), Some(1));
    assert_eq!(ring.deadline(), at(2 + 12 * 3600));
    assert!(ring.handle(Input::Tick, at(3600)).is_empty());
    assert!(asks_for_metadata(&ring.handle(Input::Tick, at(2 + 12 * 3600))));
}

#[test]
fn an_unknown_key_refreshes_at_once_and_all_who_wait_share_the_refresh() {
    let mut ring = KeyRing::new(OPENID);
    ring.handle(Input::Tick, at(0));
    refresh(&mut ring, "k1", at(0));
    assert!(asks_for_metadata(&ring.handle(Input::UnknownKey, at(1))));
    assert!(ring.handle(Input::UnknownKey, at(1)).is_empty());
    assert!(ring.refreshing(), "the second may wait too");
    refresh(&mut ring, "k2", at(2));
}

#[test]
fn made_up_keys_cannot_cause_fetches_without_end() {
    let mut ring = KeyRing::new(OPENID);
    ring.handle(Input::Tick, at(0));
    refresh(&mut ring, "k1", at(0));
    let mut fetches = 0;
    for second in 0..600 {
        if asks_for_metadata(&ring.handle(Input::UnknownKey, at(second))) {
            fetches += 1;
            refresh(&mut ring, "k1", at(second));
        } else {
            assert!(!ring.refreshing());
        }
    }
    assert_eq!(fetches, 3 + 19, "three, and one more per half minute");
}

#[test]
fn old_keys_stay_when_a_refresh_fails_and_the_next_try_comes_soon() {
    let mut ring = KeyRing::new(OPENID);
    ring.handle(Input::Tick, at(0));
    refresh(&mut ring, "k1", at(0));
    let mut now = ring.deadline();
    let mut pauses = Vec::new();
    for _ in 0..12 {
        assert!(asks_for_metadata(&ring.handle(Input::Tick, now)));
        let failed = Input::Fetched(Fetch::Metadata(OPENID.into()), Err("503".into()));
        let actions = ring.handle(failed, now);
        let [Action::Warn(text), Action::Settled { fresh: false }] = actions.as_slice() else { panic!("{actions:?}") };
        assert!(text.contains("503") && text.contains("stay in use"), "{text}");
        assert!(ring.keys().is_some() && ring.failing());
        pauses.push(ring.deadline().since(now).as_secs());
        now = ring.deadline();
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    ring.handle(Input::Tick, now);
    refresh(&mut ring, "k2", now);
    assert!(!ring.failing());
}

#[test]
fn a_lost_answer_is_given_up_and_ignored_when_it_comes_after_all() {
    let mut ring = KeyRing::new(OPENID);
    ring.handle(Input::Tick, at(0));
    assert_eq!(ring.deadline(), at(60));
    assert_eq!(ring.handle(Input::Tick, at(60)).last(), Some(&Action::Settled { fresh: false }));
    assert!(ring.handle(metadata(), at(61)).is_empty());
    assert!(ring.handle(keys("k1"), at(61)).is_empty());
    assert_eq!(ring.keys(), None);
    assert!(asks_for_metadata(&ring.handle(Input::Tick, at(61))));
}

#[test]
fn documents_that_name_no_usable_keys_are_refused() {
    for uri in ["http://login.example.org/keys", "ftp://127.0.0.1/", "keys", "http://127.0.0.1.example.org/keys"] {
        assert!(jwks_uri(json!({"jwks_uri": uri}).to_string().as_bytes()).is_err(), "{uri}");
    }
    for uri in ["https://login.example.org/keys", "http://127.0.0.1:8/keys", "http://[::1]/k", "http://localhost:9/k"] {
        assert_eq!(jwks_uri(json!({"jwks_uri": uri}).to_string().as_bytes()).as_deref(), Ok(uri));
    }
    for body in ["", "[]", "{}", r#"{"jwks_uri":7}"#] {
        assert!(jwks_uri(body.as_bytes()).is_err(), "{body}");
    }
    for body in [r#"{"keys":[]}"#.to_owned(), "<html>".to_owned(), " ".repeat(DOCUMENT_LIMIT + 1)] {
        let mut ring = KeyRing::new(OPENID);
        ring.handle(Input::Tick, at(0));
        ring.handle(metadata(), at(0));
        let fetched = Input::Fetched(Fetch::Keys(JWKS.into()), Ok(Bytes::from(body)));
        assert_eq!(ring.handle(fetched, at(0)).last(), Some(&Action::Settled { fresh: false }));
        assert_eq!(ring.keys(), None);
    }
}

proptest! {
    #[test]
    fn whoever_waits_is_woken(steps in proptest::collection::vec((0u8..6, 0u64..100), 1..200)) {
        let mut ring = KeyRing::new(OPENID);
        let mut seconds = 0;
        for (what, later) in steps {
            seconds += later;
            let before = ring.refreshing();
            let input = match what {
                0 => Input::UnknownKey,
                1 => metadata(),
                2 => keys("k1"),
                3 => Input::Fetched(Fetch::Metadata(OPENID.into()), Err("x".into())),
                4 => Input::Fetched(Fetch::Keys(JWKS.into()), Ok(Bytes::from_static(b"{"))),
                _ => Input::Tick,
            };
            let actions = ring.handle(input, at(seconds));
            let settled = actions.iter().any(|action| matches!(action, Action::Settled { .. }));
            prop_assert_eq!(settled, before && !ring.refreshing());
            prop_assert!(!ring.refreshing() || ring.deadline() <= at(seconds + 60));
        }
    }
}
