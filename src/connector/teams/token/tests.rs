use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const URL: &str = "https://login.microsoftonline.com/tenant/oauth2/v2.0/token";
const SAMPLE: &str = include_str!("../../../../tests/fixtures/graph/auth-token-response.json");

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_795_225_034_000).plus(Duration::from_secs(seconds))
}

fn desk() -> TokenDesk {
    let credential = Credential::Secret(Secret::new("s3cret&=".to_owned()));
    let scope = "https://graph.microsoft.com/.default";
    TokenDesk::new("https://login.microsoftonline.com", "tenant", "client", scope, &credential, 7).unwrap()
}

fn answer(status: u16, body: Value) -> Input {
    Input::Answered { status, retry_after: None, body: Bytes::from(body.to_string()) }
}

fn grant(token: &str, seconds: u64) -> Input {
    answer(200, json!({"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": 9, "access_token": token}))
}

fn is_request(actions: &[Action]) -> bool {
    matches!(actions, [Action::Request(_)])
}

/// A desk that got a token of an hour at second 0.
fn served() -> TokenDesk {
    let mut desk = desk();
    assert!(is_request(&desk.handle(Input::Tick, at(0))));
    assert_eq!(desk.handle(grant("one", 3600), at(1)), [Action::Ready]);
    desk
}

#[test]
fn a_request_names_client_scope_and_secret() {
    let mut desk = desk();
    let actions = desk.handle(Input::Tick, at(0));
    let [Action::Request(request)] = actions.as_slice() else { panic!("{actions:?}") };
    assert_eq!(request.url, URL);
    let form: Vec<(&str, &str)> = request.form.iter().map(|(name, value)| (*name, value.expose())).collect();
    assert_eq!(
        form,
        [
            ("grant_type", "client_credentials"),
            ("client_id", "client"),
            ("scope", "https://graph.microsoft.com/.default"),
            ("client_secret", "s3cret&="),
        ]
    );
    assert!(!format!("{actions:?} {desk:?}").contains("s3cret"));
    assert!(desk.handle(Input::Tick, at(1)).is_empty(), "one request at a time");
    assert_eq!(desk.current(at(1)), None);
}

#[test]
fn a_certificate_gives_an_assertion_that_is_new_each_time() {
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap().pem();
    let key_pem = Secret::new(key.serialize_pem());
    let credential = Credential::Certificate { certificate_pem: certificate.into_bytes(), key_pem };
    let mut desk = TokenDesk::new("https://l", "t", "client", "s", &credential, 7).unwrap();
    let mut assertion = |now| {
        let actions = desk.handle(Input::Tick, now);
        let [Action::Request(request)] = actions.as_slice() else { panic!("{actions:?}") };
        desk.handle(Input::Unreachable("x".into()), now);
        assert!(request.form.iter().all(|(name, _)| *name != "client_secret"));
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        assert!(request.form.contains(&("client_assertion_type", Secret::new(kind.to_owned()))));
        let (_, assertion) = request.form.iter().find(|(name, _)| *name == "client_assertion").unwrap();
        let claims = own_claims(assertion.expose()).unwrap().0;
        assert_eq!(claims["aud"], "https://l/t/oauth2/v2.0/token");
        claims["jti"].as_str().unwrap().to_owned()
    };
    assert_ne!(assertion(at(0)), assertion(at(100)));

    let damaged = Credential::Certificate { certificate_pem: Vec::new(), key_pem: Secret::new(String::new()) };
    assert_eq!(TokenDesk::new("l", "t", "c", "s", &damaged, 7).err(), Some(PemProblem::NoCertificate));
}

#[test]
fn tokens_are_renewed_at_four_fifths_and_used_until_they_end() {
    let mut desk = served();
    let secret = |desk: &TokenDesk, now| desk.current(now).map(|token| token.secret.expose().to_owned());
    assert_eq!(secret(&desk, at(1)).as_deref(), Some("one"));
    assert_eq!(desk.deadline(), at(2880));
    assert!(desk.handle(Input::Tick, at(2879)).is_empty());
    assert!(is_request(&desk.handle(Input::Tick, at(2880))));
    assert_eq!(secret(&desk, at(2881)).as_deref(), Some("one"), "while the next is fetched");
    desk.handle(grant("two", 3600), at(2882));
    assert_eq!(secret(&desk, at(2882)).as_deref(), Some("two"));
    assert_eq!(secret(&desk, at(2880 + 3599)).as_deref(), Some("two"));
    assert_eq!(secret(&desk, at(2880 + 3600)), None);
}

#[test]
fn the_documented_answer_is_understood() {
    let mut desk = desk();
    desk.handle(Input::Tick, at(0));
    let sample: Value = serde_json::from_str(SAMPLE).unwrap();
    assert_eq!(desk.handle(answer(200, sample.clone()), at(0)), [Action::Ready]);
    assert_eq!(desk.current(at(0)).map(|token| token.secret.expose()), sample["access_token"].as_str());
    assert_eq!(desk.roles(), Vec::<String>::new(), "the sample is no whole token");
}

#[test]
fn roles_are_read_from_our_own_token() {
    let mut desk = desk();
    desk.handle(Input::Tick, at(0));
    let claims = URL_SAFE_NO_PAD.encode(json!({"roles": ["Chat.Read.All", "Calls.JoinGroupCall.All", 7]}).to_string());
    desk.handle(grant(&format!("e30.{claims}.x"), 3600), at(0));
    assert_eq!(desk.roles(), ["Chat.Read.All", "Calls.JoinGroupCall.All"]);
}

#[test]
fn outages_are_tried_again_after_growing_pauses_up_to_a_minute() {
    let mut desk = served();
    let mut now = desk.deadline();
    let mut full = 1.0;
    for _ in 0..20 {
        assert!(is_request(&desk.handle(Input::Tick, now)));
        let actions = desk.handle(answer(503, json!("busy")), now);
        assert!(matches!(actions.as_slice(), [Action::Warn(text)] if text.contains("503")), "{actions:?}");
        let pause = desk.deadline().since(now).as_secs_f64();
        assert!((full * 0.49..=full).contains(&pause), "{pause} of {full}");
        full = f64::min(full * 2.0, 60.0);
        now = desk.deadline();
    }
    assert!(is_request(&desk.handle(Input::Tick, now)));
    desk.handle(grant("two", 3600), now);
    assert_eq!(desk.failure(), None);
    let mut later = desk.deadline();
    desk.handle(Input::Tick, later);
    desk.handle(Input::Unreachable("connection refused".into()), later);
    later = later.plus(Duration::from_secs(1));
    assert!(desk.deadline() <= later, "pauses begin anew after a success");
}

#[test]
fn the_service_may_ask_for_a_longer_pause_but_not_for_an_endless_one() {
    for (asked, given) in [(20, 20), (100_000, 900)] {
        let mut desk = desk();
        desk.handle(Input::Tick, at(0));
        let retry_after = Some(Duration::from_secs(asked));
        let body = Bytes::from_static(br#"{"error":"temporarily_unavailable"}"#);
        desk.handle(Input::Answered { status: 429, retry_after, body }, at(0));
        assert_eq!(desk.deadline(), at(given));
    }
}

#[test]
fn refused_credentials_alarm_with_a_remedy_and_are_tried_no_faster_than_every_quarter_of_an_hour() {
    let mut desk = desk();
    desk.handle(Input::Tick, at(0));
    let description = "AADSTS7000215: Invalid client secret provided. secret words";
    let body = json!({"error": "invalid_client", "error_description": description, "error_codes": [7000215]});
    let actions = desk.handle(answer(401, body), at(0));
    let [Action::Alarm(text)] = actions.as_slice() else { panic!("{actions:?}") };
    assert!(text.contains(URL) && text.contains("AADSTS7000215") && text.contains("Secret ID"), "{text}");
    assert!(!text.contains("secret words"), "{text}");
    assert_eq!(desk.deadline(), at(900));
    assert!(desk.handle(Input::Tick, at(899)).is_empty());
    assert!(is_request(&desk.handle(Input::Tick, at(900))));
}

#[test]
fn new_credentials_are_tried_at_once_and_the_same_ones_are_not() {
    let mut desk = desk();
    desk.handle(Input::Tick, at(0));
    desk.handle(answer(401, json!({"error": "invalid_client"})), at(0));
    let same = Credential::Secret(Secret::new("s3cret&=".to_owned()));
    assert_eq!(desk.renew_credential(&same, at(10)), Ok(false));
    let damaged = Credential::Certificate { certificate_pem: Vec::new(), key_pem: Secret::new(String::new()) };
    assert_eq!(desk.renew_credential(&damaged, at(10)), Err(PemProblem::NoCertificate));
    assert_eq!(desk.deadline(), at(900));
    let new = Credential::Secret(Secret::new("new".to_owned()));
    assert_eq!(desk.renew_credential(&new, at(10)), Ok(true));
    let actions = desk.handle(Input::Tick, at(10));
    let [Action::Request(request)] = actions.as_slice() else { panic!("{actions:?}") };
    assert!(request.form.contains(&("client_secret", Secret::new("new".to_owned()))));
}

#[test]
fn every_refusal_says_what_to_do() {
    for (body, wanted) in [
        (json!({"error": "invalid_client", "error_codes": [7000222]}), "has ended"),
        (json!({"error": "invalid_client", "error_description": "AADSTS7000222: x"}), "has ended"),
        (json!({"error": "unauthorized_client", "error_codes": [700016]}), "no such application"),
        (json!({"error": "invalid_request", "error_codes": [90002]}), "no such tenant"),
        (json!({"error": "invalid_client", "error_codes": [700027]}), "certificate"),
        (json!({"error": "invalid_client", "error_codes": []}), "client_id"),
        (json!({"error": "invalid_scope"}), "graph_scope"),
        (json!({"error": "Words of\nsomebody"}), "(error)"),
    ] {
        let failure = answer::read(400, None, body.to_string().as_bytes()).unwrap_err();
        assert!(matches!(failure, TokenFailure::Refused { .. }), "{failure:?}");
        assert!(failure.to_string().contains(wanted), "{failure}");
    }
}

#[test]
fn what_is_no_refusal_and_no_token_is_an_outage() {
    for (status, body) in [
        (200, r#"{"token_type":"Bearer","expires_in":3600}"#),
        (200, r#"{"token_type":"mac","access_token":"x"}"#),
        (200, r#"{"access_token":"line\nbreak"}"#),
        (200, "<html>"),
        (302, ""),
        (403, "<html>proxy</html>"),
        (429, r#"{"error":"throttled"}"#),
        (400, r#"{"error":"temporarily_unavailable"}"#),
        (500, r#"{"error":"invalid_client"}"#),
    ] {
        let failure = answer::read(status, None, body.as_bytes()).unwrap_err();
        assert_eq!(failure, TokenFailure::Outage { status, retry_after: None }, "{body}");
    }
}

#[test]
fn lives_are_read_as_numbers_and_texts_and_never_believed_to_be_endless() {
    for (life, seconds) in [
        (json!(3599), 3599),
        (json!("3599"), 3599),
        (json!(60.9), 60),
        (json!(0), 1),
        (json!(-5), 1),
        (json!(null), 3600),
        (json!("soon"), 3600),
        (json!(u64::MAX), 86_400),
    ] {
        let body = json!({"access_token": "x", "expires_in": life}).to_string();
        let granted = answer::read(200, None, body.as_bytes()).unwrap();
        assert_eq!(granted.life, Duration::from_secs(seconds), "{life}");
    }
}

#[test]
fn a_token_that_the_resource_refuses_is_replaced_but_not_in_a_loop() {
    let mut desk = served();
    assert!(desk.handle(Input::Rejected(1), at(100)).is_empty());
    assert!(is_request(&desk.handle(Input::Tick, at(100))));
    desk.handle(grant("two", 3600), at(100));
    desk.handle(Input::Rejected(1), at(101));
    assert_eq!(desk.deadline(), at(2980), "the old number means nothing any more");
    desk.handle(Input::Rejected(2), at(101));
    assert_eq!(desk.deadline(), at(160));
}

#[test]
fn an_answer_that_never_comes_is_given_up() {
    let mut desk = desk();
    desk.handle(Input::Tick, at(0));
    assert_eq!(desk.deadline(), at(60));
    assert!(matches!(desk.handle(Input::Tick, at(60)).as_slice(), [Action::Warn(_)]));
    assert!(desk.handle(grant("late", 3600), at(61)).is_empty());
    assert_eq!(desk.current(at(61)), None);
}

proptest! {
    #[test]
    fn any_answer_is_read_without_panic(status in any::<u16>(), body in ".{0,200}") {
        let _ = answer::read(status, None, body.as_bytes()).map_err(|failure| failure.to_string());
    }

    #[test]
    fn a_desk_always_has_a_next_time_and_never_two_requests(steps in proptest::collection::vec((0u8..6, 0u64..2000), 1..200)) {
        let mut desk = desk();
        let mut seconds = 0;
        let mut open = false;
        for (what, later) in steps {
            seconds += later;
            let input = match what {
                0 => grant("x", later),
                1 => answer(503, json!({})),
                2 => answer(400, json!({"error": "invalid_client"})),
                3 => Input::Unreachable("x".into()),
                4 => Input::Rejected(later % 4),
                _ => Input::Tick,
            };
            let requests = is_request(&desk.handle(input, at(seconds)));
            prop_assert!(!(requests && open));
            open = desk.asking();
            prop_assert!(desk.deadline() <= at(seconds + 86_400));
        }
    }
}
