use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::connector::ucwa::http::NetFailure;

const PASSWORD: &str = "p&ss+%w\u{f6}rd";

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + seconds * 1000)
}

fn courier() -> Courier {
    let trust = Trust::new("contoso.com", None, &["127.0.0.1".to_owned()]).unwrap();
    Courier::new(trust, Credentials { username: "contoso\\recorder".into(), password: Secret::new(PASSWORD.into()) })
}

fn post(target: &str) -> Call {
    Call {
        method: Method::Post,
        url: url(target),
        body: Body::Json(serde_json::json!({"operationId": "1"})),
        lane: Lane::Command,
        timeout: Duration::from_secs(10),
        anonymous: false,
    }
}

fn answer(status: u16, body: &str) -> Answer {
    Answer {
        status,
        www_authenticate: Vec::new(),
        diagnostics: None,
        retry_after: None,
        location: None,
        etag: None,
        content_type: None,
        server_date: None,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

fn plain(status: u16) -> Outcome {
    Outcome::Answer(answer(status, "{}"))
}

fn challenge_to(href: &str, grants: &str) -> Outcome {
    let field = format!("MsRtcOAuth href=\"{href}\",grant_type=\"{grants}\"");
    Outcome::Answer(Answer { www_authenticate: vec!["NTLM".into(), field], ..answer(401, "<html>") })
}

fn refused() -> Outcome {
    challenge_to("/WebTicket/oauthtoken", "urn:microsoft.rtc:windows,urn:microsoft.rtc:anonmeeting,password")
}

fn foreign() -> Outcome {
    let diagnostics = "28032;source=\"web.contoso.com\";reason=\"The web ticket is invalid.";
    Outcome::Answer(Answer { diagnostics: Some(diagnostics.into()), ..answer(500, "") })
}

fn ticket(token: &str, life: u64) -> Outcome {
    let body = format!("{{\"access_token\":\"{token}\",\"expires_in\":{life},\"token_type\":\"Bearer\"}}");
    Outcome::Answer(answer(200, &body))
}

fn token_error(status: u16, error: &str) -> Outcome {
    Outcome::Answer(answer(status, &format!("{{\"error\":\"{error}\"}}")))
}

fn sent(steps: Vec<Step>) -> (RequestId, Request) {
    match steps.into_iter().next() {
        Some(Step::Send(id, request)) => (id, request),
        other => panic!("expected a request, got {other:?}"),
    }
}

fn failure(steps: &[Step]) -> &CallFailure {
    match steps.last() {
        Some(Step::Done(_, Err(failure))) => failure,
        other => panic!("expected a failed call, got {other:?}"),
    }
}

/// Signs in at the target's origin and finishes the call.
fn signed_in(courier: &mut Courier, target: &str, token: &str, life: u64) {
    let (_, steps) = courier.call(post(target), at(0));
    let (bare, _) = sent(steps);
    let (grant, _) = sent(courier.answer(bare, refused(), at(0)));
    let (repeat, _) = sent(courier.answer(grant, ticket(token, life), at(0)));
    assert!(matches!(courier.answer(repeat, plain(200), at(0))[..], [Step::Done(_, Ok(_))]));
}

#[test]
fn a_call_without_ticket_goes_bare_then_with_one() {
    let mut c = courier();
    let (id, steps) = c.call(post("https://pool.contoso.com/ucwa/x@y?z=1"), at(0));
    let (bare, request) = sent(steps);
    assert_eq!(request.authorization, Authorization::None);
    let (grant, request) = sent(c.answer(bare, refused(), at(1)));
    assert_eq!(request.url.as_str(), "https://pool.contoso.com/WebTicket/oauthtoken");
    assert_eq!((request.method, &request.authorization), (Method::Post, &Authorization::None));
    let Body::Form(form) = &request.body else { panic!("a form") };
    let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.expose())).collect();
    assert_eq!(form, [("grant_type", "password"), ("username", "contoso\\recorder"), ("password", PASSWORD)]);
    // Another call to the same origin waits.
    let (second, steps) = c.call(post("https://pool.contoso.com/other"), at(1));
    assert_eq!(steps, []);
    let steps = c.answer(grant, ticket("cwt=1", 28800), at(2));
    let [Step::Send(first_again, a), Step::Send(second_sent, b)] = &steps[..] else { panic!("{steps:?}") };
    assert_eq!(a.authorization, Authorization::Bearer(Secret::new("cwt=1".into())));
    assert_eq!(a.url.as_str(), "https://pool.contoso.com/ucwa/x@y?z=1");
    assert_eq!(a.body, post("https://x/").body);
    assert_eq!(b.authorization, a.authorization);
    let done = c.answer(*second_sent, plain(204), at(3));
    assert!(matches!(&done[..], [Step::Done(d, Ok(a))] if *d == second && a.status == 204));
    let done = c.answer(*first_again, plain(409), at(3));
    assert!(matches!(&done[..], [Step::Done(d, Ok(a))] if *d == id && a.status == 409));
    assert_eq!(c.answer(*first_again, plain(200), at(3)), [], "the same answer twice");
}

#[test]
fn each_origin_has_its_own_ticket() {
    let mut c = courier();
    signed_in(&mut c, "https://webdir.contoso.com/user", "cwt=dir", 3600);
    let (_, steps) = c.call(post("https://pool.contoso.com/applications"), at(1));
    let (bare, request) = sent(steps);
    assert_eq!(request.authorization, Authorization::None, "not the ticket of another pool");
    let (grant, request) = sent(c.answer(bare, refused(), at(1)));
    assert_eq!(request.url.host_str(), Some("pool.contoso.com"));
    let (_, request) = sent(c.answer(grant, ticket("cwt=pool", 3600), at(1)));
    assert_eq!(request.authorization, Authorization::Bearer(Secret::new("cwt=pool".into())));
}

#[test]
fn a_401_in_between_gets_one_new_ticket_and_one_repeat() {
    let mut c = courier();
    signed_in(&mut c, "https://pool.contoso.com/a", "cwt=1", 3600);
    let (_, steps) = c.call(post("https://pool.contoso.com/b"), at(1));
    let (first, _) = sent(steps);
    let (grant, request) = sent(c.answer(first, refused(), at(1)));
    assert!(request.url.path().ends_with("oauthtoken"));
    let (second, request) = sent(c.answer(grant, ticket("cwt=2", 3600), at(1)));
    assert_eq!(request.authorization, Authorization::Bearer(Secret::new("cwt=2".into())));
    let steps = c.answer(second, refused(), at(1));
    assert_eq!(steps.len(), 1);
    assert_eq!(failure(&steps), &CallFailure::SignIn(SignInFailure::Unauthorised { code: None }));
}

#[test]
fn calls_refused_together_share_one_new_ticket() {
    let mut c = courier();
    signed_in(&mut c, "https://pool.contoso.com/a", "cwt=1", 3600);
    let (a, _) = sent(c.call(post("https://pool.contoso.com/b"), at(1)).1);
    let (b, _) = sent(c.call(post("https://pool.contoso.com/c"), at(1)).1);
    let (d, _) = sent(c.call(post("https://pool.contoso.com/d"), at(1)).1);
    let (grant, _) = sent(c.answer(a, refused(), at(1)));
    assert_eq!(c.answer(b, refused(), at(1)), []);
    assert_eq!(c.answer(grant, ticket("cwt=2", 3600), at(2)).len(), 2);
    let (_, request) = sent(c.answer(d, refused(), at(2)));
    assert_eq!(request.authorization, Authorization::Bearer(Secret::new("cwt=2".into())), "no third ticket");
}

#[test]
fn a_foreign_ticket_is_dropped_and_challenged_once() {
    let mut c = courier();
    signed_in(&mut c, "https://pool.contoso.com/a", "cwt=1", 3600);
    let (first, _) = sent(c.call(post("https://pool.contoso.com/b"), at(1)).1);
    let (bare, request) = sent(c.answer(first, foreign(), at(1)));
    assert_eq!(request.authorization, Authorization::None);
    let (grant, _) = sent(c.answer(bare, refused(), at(1)));
    let (last, _) = sent(c.answer(grant, ticket("cwt=2", 3600), at(1)));
    let steps = c.answer(last, foreign(), at(1));
    assert!(matches!(&steps[..], [Step::Done(_, Ok(a))] if a.status == 500), "then it is a server error");
    let (first, _) = sent(c.call(post("https://pool.contoso.com/b"), at(1)).1);
    let other = Answer { diagnostics: Some("28000;x".into()), ..answer(500, "") };
    assert!(matches!(&c.answer(first, Outcome::Answer(other), at(1))[..], [Step::Done(_, Ok(_))]));
}

#[test]
fn a_wrong_password_is_not_tried_again() {
    let mut c = courier();
    let (bare, _) = sent(c.call(post("https://pool.contoso.com/a"), at(0)).1);
    let (grant, _) = sent(c.answer(bare, refused(), at(0)));
    let (waiting, _) = c.call(post("https://pool.contoso.com/b"), at(0));
    let Outcome::Answer(mut wrong) = token_error(400, "invalid_grant") else { unreachable!() };
    wrong.diagnostics = Some("28020;source=\"x\"".into());
    let steps = c.answer(grant, Outcome::Answer(wrong), at(0));
    let wrong = SignInFailure::WrongCredentials { code: Some(28020) };
    assert_eq!(steps.len(), 2, "the calls that waited tell it, and nothing else does");
    assert_eq!(steps[1], Step::Done(waiting, Err(CallFailure::SignIn(wrong.clone()))));
    for target in ["https://pool.contoso.com/a", "https://other.contoso.com/"] {
        let (id, steps) = c.call(post(target), at(3600));
        assert_eq!(steps, [Step::Done(id, Err(CallFailure::SignIn(wrong.clone())))]);
    }
    assert_eq!(c.renew(at(100_000)), []);
    assert!(!wrong.text().contains(PASSWORD) && wrong.text().contains("28020"));
    c.reset_credentials_block();
    let (bare, _) = sent(c.call(post("https://pool.contoso.com/a"), at(4000)).1);
    let (grant, _) = sent(c.answer(bare, refused(), at(4000)));
    assert!(matches!(sent(c.answer(grant, ticket("cwt=1", 60), at(4000))).1.authorization, Authorization::Bearer(_)));
}

#[test]
fn other_troubles_of_the_token_service_do_not_block() {
    for (outcome, expected) in [
        (plain(503), SignInFailure::TokenServer { status: 503, code: None, retry_after: None }),
        (token_error(400, "server_error"), SignInFailure::TokenServer { status: 400, code: None, retry_after: None }),
        (plain(200), SignInFailure::TokenServer { status: 200, code: None, retry_after: None }),
        (
            Outcome::Answer(answer(200, r#"{"access_token":"a\r\nb"}"#)),
            SignInFailure::TokenServer { status: 200, code: None, retry_after: None },
        ),
        (token_error(400, "unsupported_grant_type"), SignInFailure::GrantRefused { grant: "password", code: None }),
    ] {
        let mut c = courier();
        let (bare, _) = sent(c.call(post("https://pool.contoso.com/a"), at(0)).1);
        let (grant, _) = sent(c.answer(bare, refused(), at(0)));
        assert_eq!(failure(&c.answer(grant, outcome, at(0))), &CallFailure::SignIn(expected));
        assert!(c.credentials_blocked().is_none());
        sent(c.call(post("https://pool.contoso.com/a"), at(0)).1);
    }
    let mut c = courier();
    let (bare, _) = sent(c.call(post("https://pool.contoso.com/a"), at(0)).1);
    let (grant, _) = sent(c.answer(bare, refused(), at(0)));
    let steps = c.answer(grant, Outcome::Failed(NetFailure::Timeout), at(0));
    assert_eq!(failure(&steps), &CallFailure::Net(NetFailure::Timeout));
}

#[test]
fn grants_are_chosen_and_refused() {
    let mut c = courier();
    let (bare, _) = sent(c.call(post("https://pool.contoso.com/a"), at(0)).1);
    let (_, request) = sent(c.answer(bare, challenge_to("/t", "urn:microsoft.rtc:windows"), at(0)));
    let Body::Form(form) = &request.body else { panic!("a form") };
    assert_eq!(form.len(), 1, "no name and no password in the form");
    assert!(matches!(request.authorization, Authorization::Windows { .. }));
    // Kerberos only: nobody called the password wrong, so it may be tried again.
    let mut c = courier();
    let (bare, _) = sent(c.call(post("https://pool.contoso.com/a"), at(0)).1);
    let (grant, _) = sent(c.answer(bare, challenge_to("/t", "urn:microsoft.rtc:windows"), at(0)));
    let steps = c.answer(grant, Outcome::Failed(NetFailure::NoNtlm), at(0));
    assert_eq!(failure(&steps), &CallFailure::SignIn(SignInFailure::NoNtlm));
    assert!(c.credentials_blocked().is_none());
    let mut c = courier();
    let (bare, _) = sent(c.call(post("https://pool.contoso.com/a"), at(0)).1);
    let steps = c.answer(bare, challenge_to("/t", "urn:microsoft.rtc:passive"), at(0));
    let offered = vec!["urn:microsoft.rtc:passive".to_owned()];
    assert_eq!(failure(&steps), &CallFailure::SignIn(SignInFailure::NoUsableGrant { offered }));
    let mut c = courier();
    let (bare, _) = sent(c.call(post("https://pool.contoso.com/a"), at(0)).1);
    assert_eq!(failure(&c.answer(bare, plain(401), at(0))), &CallFailure::SignIn(SignInFailure::NoChallenge));
}

#[test]
fn secrets_stay_with_trusted_hosts() {
    let mut c = courier();
    let (id, steps) = c.call(post("https://evil.example/a"), at(0));
    let host = "https://evil.example".to_owned();
    assert_eq!(steps, [Step::Done(id, Err(CallFailure::Untrusted { host: host.clone() }))]);
    let (_, steps) = c.call(post("http://pool.contoso.com/a"), at(0));
    assert!(matches!(failure(&steps), CallFailure::Untrusted { .. }), "no plain http");
    for href in ["https://evil.example/t", "http://pool.contoso.com/t", "//evil.example/t", "http://[::1]/t"] {
        let (bare, _) = sent(c.call(post("https://pool.contoso.com/a"), at(0)).1);
        let steps = c.answer(bare, challenge_to(href, "password"), at(0));
        assert!(matches!(failure(&steps), CallFailure::Untrusted { .. }), "{href}: {steps:?}");
    }
    let anonymous = Call { anonymous: true, ..post("https://evil.example/") };
    let (bare, request) = sent(c.call(anonymous, at(0)).1);
    assert_eq!(request.authorization, Authorization::None);
    assert!(matches!(&c.answer(bare, refused(), at(0))[..], [Step::Done(_, Ok(a))] if a.status == 401));
}

#[test]
fn tickets_are_renewed_before_they_end() {
    for (life, due) in [(28_800, 23_040), (2_000, 1_400), (1_200, 600), (100, 80)] {
        let mut c = courier();
        assert_eq!(c.renewal_due(), None);
        signed_in(&mut c, "https://pool.contoso.com/a", "cwt=1", life);
        assert_eq!(c.renewal_due(), Some(at(due)), "{life}");
        assert_eq!(c.renew(at(due - 1)), []);
        let (grant, _) = sent(c.renew(at(due)));
        assert_eq!(c.renewal_due(), None);
        assert_eq!(c.renew(at(due)), [], "not twice");
        let (_, request) = sent(c.call(post("https://pool.contoso.com/b"), at(due)).1);
        assert_eq!(request.authorization, Authorization::Bearer(Secret::new("cwt=1".into())), "the old one serves");
        assert_eq!(c.answer(grant, ticket("cwt=2", 28_800), at(due)), []);
        let (_, request) = sent(c.call(post("https://pool.contoso.com/b"), at(due)).1);
        assert_eq!(request.authorization, Authorization::Bearer(Secret::new("cwt=2".into())));
    }
}

#[test]
fn a_failed_renewal_is_told_and_tried_again_while_the_ticket_lasts() {
    let mut c = courier();
    signed_in(&mut c, "https://pool.contoso.com/a", "cwt=1", 28_800);
    let (grant, _) = sent(c.renew(at(25_000)));
    let steps = c.answer(grant, plain(503), at(25_000));
    assert!(matches!(&steps[..], [Step::Raise(Alarm::NotRenewed { .. })]));
    assert_eq!(c.renewal_due(), Some(at(25_060)));
    let (_, request) = sent(c.call(post("https://pool.contoso.com/b"), at(28_799)).1);
    assert!(matches!(request.authorization, Authorization::Bearer(_)));
    let (_, request) = sent(c.call(post("https://pool.contoso.com/b"), at(28_800)).1);
    assert_eq!(request.authorization, Authorization::None, "an ended ticket is not shown");
    let mut c = courier();
    signed_in(&mut c, "https://pool.contoso.com/a", "cwt=1", 28_800);
    let (grant, _) = sent(c.renew(at(25_000)));
    let steps = c.answer(grant, token_error(400, "invalid_grant"), at(25_000));
    assert!(matches!(&steps[..], [Step::Raise(Alarm::WrongCredentials(_))]));
    let (first, _) = sent(c.call(post("https://pool.contoso.com/b"), at(25_001)).1);
    let steps = c.answer(first, refused(), at(25_001));
    assert!(matches!(failure(&steps), CallFailure::SignIn(SignInFailure::WrongCredentials { .. })));
}

#[test]
fn cancelled_calls_are_silent_and_forgotten_origins_not_renewed() {
    let mut c = courier();
    let (first, steps) = c.call(post("https://pool.contoso.com/a"), at(0));
    let (bare, _) = sent(steps);
    let (grant, _) = sent(c.answer(bare, refused(), at(0)));
    c.cancel(first);
    assert_eq!(c.answer(grant, ticket("cwt=1", 3600), at(0)), []);
    let (second, steps) = c.call(post("https://pool.contoso.com/a"), at(0));
    c.cancel(second);
    assert_eq!(c.answer(sent(steps).0, plain(200), at(0)), []);
    c.forget_origin(&Origin::of(&url("https://pool.contoso.com/")));
    assert_eq!(c.renewal_due(), None);
}

#[test]
fn nothing_secret_shows() {
    let mut c = courier();
    signed_in(&mut c, "https://pool.contoso.com/a", "cwt=tell-nobody", 3600);
    let (_, steps) = c.call(post("https://pool.contoso.com/b"), at(0));
    let seen = format!("{c:?} {steps:?}");
    assert!(!seen.contains("tell-nobody") && !seen.contains(PASSWORD), "{seen}");
}

#[test]
fn diagnostics_with_and_without_their_closing_quote() {
    for (field, code) in [
        ("28032;source=\"a\";reason=\"The web ticket is invalid.\"", Some(28032)),
        ("28032;source=\"a\";reason=\"The web ticket", Some(28032)),
        (" 28020", Some(28020)),
        ("\"28020;\"", Some(28020)),
        ("none", None),
        ("", None),
        ("99999999999999", None),
    ] {
        assert_eq!(diagnostics_code(field), code, "{field}");
    }
}

const HOSTS: [&str; 5] = [
    "https://pool.contoso.com",
    "https://webdir.contoso.com:4443",
    "http://127.0.0.1:81",
    "https://evil.example",
    "http://pool.contoso.com",
];

#[derive(Clone, Debug)]
enum Deed {
    Call { host: usize, anonymous: bool },
    Answer { which: usize, how: u8, host: usize },
    Wait(u16),
    Renew,
    Cancel(usize),
    Unblock,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (0..HOSTS.len(), prop::bool::weighted(0.2)).prop_map(|(host, anonymous)| Deed::Call { host, anonymous }),
        12 => (any::<usize>(), any::<u8>(), 0..HOSTS.len())
            .prop_map(|(which, how, host)| Deed::Answer { which, how, host }),
        1 => any::<u16>().prop_map(Deed::Wait),
        1 => Just(Deed::Renew),
        1 => any::<usize>().prop_map(Deed::Cancel),
        1 => Just(Deed::Unblock),
    ]
}

/// Watches the courier from outside and knows which token was issued for which origin.
#[derive(Default)]
struct World {
    /// On the wire: the request and, for token requests, the origin it was made for.
    wire: BTreeMap<RequestId, Request>,
    done: BTreeSet<CallId>,
    tries: BTreeMap<String, usize>,
}

impl World {
    fn watch(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Done(id, _) => assert!(self.done.insert(id), "{id:?} twice"),
                Step::Raise(alarm) => assert!(!alarm.text().contains(PASSWORD)),
                Step::Send(id, request) => {
                    let origin = Origin::of(&request.url).to_string();
                    let trusted = HOSTS[..3].contains(&origin.as_str());
                    match &request.authorization {
                        Authorization::Bearer(token) => {
                            assert_eq!(token.expose().split('#').next(), Some(origin.as_str()), "another's ticket");
                            assert!(trusted);
                        }
                        Authorization::Windows { .. } => assert!(trusted),
                        Authorization::None => {}
                    }
                    match &request.body {
                        Body::Form(_) => assert!(trusted, "password to {origin}"),
                        _ => {
                            let tries = self.tries.entry(request.url.to_string()).or_default();
                            *tries += 1;
                            assert!(*tries <= 4, "repeats without end");
                        }
                    }
                    assert!(self.wire.insert(id, request).is_none());
                }
            }
        }
    }

    fn outcome(&self, request: &Request, how: u8, host: usize) -> Outcome {
        if matches!(request.body, Body::Form(_)) {
            // The challenge put the origin that it was for into the token address.
            let origin = request.url.query().unwrap_or_default();
            return match how % 8 {
                0..=3 => ticket(&format!("{origin}#{how}"), u64::from(how) * 60 + 1),
                4 => token_error(400, "invalid_grant"),
                5 => token_error(500, "server_error"),
                6 => plain(401),
                _ => Outcome::Failed(NetFailure::Broken),
            };
        }
        let origin = Origin::of(&request.url);
        match how % 8 {
            0 | 1 => plain(200),
            2..=4 => challenge_to(&format!("{}/token?{origin}", HOSTS[host]), "password,urn:microsoft.rtc:windows"),
            5 => foreign(),
            6 => plain(401),
            _ => Outcome::Failed(NetFailure::Timeout),
        }
    }
}

proptest! {
    #[test]
    fn no_secret_goes_astray_and_every_call_ends(deeds in proptest::collection::vec(deed(), 0..80)) {
        let mut c = courier();
        let mut world = World::default();
        let (mut now, mut calls, mut cancelled) = (0, Vec::new(), BTreeSet::new());
        for deed in deeds {
            match deed {
                Deed::Call { host, anonymous } => {
                    let target = format!("{}/call/{}", HOSTS[host], calls.len());
                    let (id, steps) = c.call(Call { anonymous, ..post(&target) }, at(now));
                    calls.push(id);
                    world.watch(steps);
                }
                Deed::Answer { which, how, host } => {
                    let Some(id) = world.wire.keys().nth(which % world.wire.len().max(1)).copied() else { continue };
                    let request = world.wire.remove(&id).expect("just found");
                    let outcome = world.outcome(&request, how, host);
                    world.watch(c.answer(id, outcome.clone(), at(now)));
                    prop_assert_eq!(c.answer(id, outcome, at(now)), vec![], "answered twice");
                }
                Deed::Wait(seconds) => now += i64::from(seconds),
                Deed::Renew => world.watch(c.renew(at(now))),
                Deed::Cancel(which) => {
                    if let Some(id) = calls.get(which % calls.len().max(1)) {
                        c.cancel(*id);
                        cancelled.insert(*id);
                    }
                }
                Deed::Unblock => c.reset_credentials_block(),
            }
        }
        // Everything is answered in the end: every call that was not dropped is done.
        while let Some((id, request)) = world.wire.pop_first() {
            let outcome = world.outcome(&request, 0, 0);
            world.watch(c.answer(id, outcome, at(now)));
        }
        for id in calls {
            prop_assert!(world.done.contains(&id) || cancelled.contains(&id), "{id:?} hangs");
        }
    }
}
