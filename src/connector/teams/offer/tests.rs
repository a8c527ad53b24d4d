use super::super::notice;
use super::*;

const HOME: &str = "932899f8-2ea1-4604-8413-27bd2892079f";
const AWAY: &str = "11111111-2ea1-4604-8413-27bd2892079f";
const ALICE: &str = "8a34a46b-3d17-4adc-8dce-dc4e7d572698";

fn offer_of(body: &[u8]) -> Offer {
    let notices = notice::read(body).expect("graph");
    Offer::read(notices.first().expect("one"), HOME)
}

fn sample(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/graph/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).expect("sample")
}

/// An incoming call with this source identity, call tenant and further members.
fn call(identity: Value, tenant: Option<&str>, more: Value) -> Offer {
    let mut data = json!({
        "@odata.type": "#microsoft.graph.call", "state": "incoming", "source": {"identity": identity},
    });
    if let Some(tenant) = tenant {
        data["tenantId"] = json!(tenant);
    }
    for (name, value) in more.as_object().expect("object") {
        data[name] = value.clone();
    }
    let item = json!({"changeType": "created", "resourceUrl": "/communications/calls/c", "resourceData": data});
    offer_of(json!({"value": [item]}).to_string().as_bytes())
}

fn policy() -> Value {
    json!({"applicationMetadata": {"botData": {"inviteReasons": ["ComplianceRecording"]}}})
}

#[test]
fn who_is_let_in_is_told_by_a_table() {
    let user = |tenant: Option<&str>| match tenant {
        Some(tenant) => json!({"user": {"id": ALICE.to_uppercase(), "tenantId": tenant}}),
        None => json!({"user": {"id": ALICE}}),
    };
    let phone = json!({"phone": {"id": "+49 30 1234"}});
    let home = format!("*@{HOME}");
    let alice_home = format!("{ALICE}@{}", HOME.to_uppercase());
    let table: Vec<(&str, Offer, Vec<&str>, bool)> = vec![
        ("of the tenant", call(user(Some(HOME)), None, json!({})), vec![&home], true),
        ("of another tenant", call(user(Some(AWAY)), Some(HOME), json!({})), vec![&home], false),
        ("without tenant counts to the call's", call(user(None), Some(AWAY), json!({})), vec![&home], false),
        ("without tenant counts to the call's, home", call(user(None), Some(HOME), json!({})), vec![&home], true),
        ("without any tenant counts to the token's", call(user(None), None, json!({})), vec![&home], true),
        ("by object id", call(user(Some(AWAY)), None, json!({})), vec![ALICE], true),
        ("by object id and tenant", call(user(Some(HOME)), None, json!({})), vec![&alice_home], true),
        ("by object id, another tenant", call(user(Some(AWAY)), None, json!({})), vec![&alice_home], false),
        ("by number", call(phone.clone(), None, json!({})), vec!["tel:+49*"], true),
        ("by whole number", call(phone.clone(), None, json!({})), vec!["tel:+49301234"], true),
        ("by another number", call(phone.clone(), None, json!({})), vec!["tel:+48*", "tel:+4930"], false),
        ("a telephone is no object id", call(phone, None, json!({})), vec![ALICE], false),
        ("anyone", call(json!({"guest": {"id": "g"}}), Some(AWAY), json!({})), vec!["*"], true),
        ("a guest of a foreign call", call(json!({"guest": {"id": "g"}}), Some(AWAY), json!({})), vec![&home], false),
        ("nobody at all", call(json!({}), Some(HOME), json!({})), vec![&home], true),
        ("nobody, listed by id", call(json!({}), Some(HOME), json!({})), vec![ALICE], false),
        ("an empty list", call(user(Some(HOME)), None, json!({})), vec![], false),
        ("the second pattern", call(user(Some(HOME)), None, json!({})), vec!["tel:+1*", &home], true),
    ];
    for (case, offer, patterns, want) in table {
        let accept_from = AcceptFrom::parse(&patterns).expect("patterns");
        let rules = Rules { accept_from, accept_policy_recording: true };
        let got = decide(&offer, &rules, HOME);
        assert_eq!(matches!(got, Decision::Accept { .. }), want, "{case}: {got:?}");
    }
}

#[test]
fn policy_recording_is_accepted_whoever_calls_if_so_configured() {
    let stranger = call(json!({"user": {"id": ALICE, "tenantId": AWAY}}), Some(AWAY), policy());
    assert!(stranger.policy);
    let rules = Rules { accept_from: AcceptFrom::everyone_of(HOME), accept_policy_recording: true };
    assert_eq!(decide(&stranger, &rules, HOME), Decision::Accept { rule: "accept_policy_recording".into() });
    let strict = Rules { accept_policy_recording: false, ..rules };
    let Decision::Decline { reason } = decide(&stranger, &strict, HOME) else { panic!("accepted") };
    assert!(reason.contains(&format!("{ALICE}@{AWAY}")), "{reason}");
}

#[test]
fn the_policy_sample_tells_everything_and_its_token_stays_out_of_the_detail() {
    let body = sample("incoming-policy-recording");
    let offer = offer_of(&body);
    assert!(offer.policy);
    assert_eq!(offer.deadline(), Duration::from_secs(5));
    assert_eq!(offer.caller.as_ref().map(|c| c.person.id.clone()), Some(format!("{ALICE}@{HOME}")));
    assert_eq!(offer.observed.as_deref(), Some("30fad2ce-8989-41a1-8a66-f6636e629a2a"));
    assert_eq!(offer.chain.as_deref(), Some("05f2f70f-3a9c-47c1-80a9-cc79e91d8cec"));
    assert_eq!(offer.paired.len(), 1);
    assert_eq!(offer.others[0].participant.as_deref(), Some("a71f0300-ec1f-4d99-b5f4-2722e877d490"));
    let notices = notice::read(&body).expect("graph");
    let detail = detail(notices[0].call_object(), &offer);
    assert_eq!(detail["bot_data"]["policyIdentifier"], "Test Policy");
    assert!(!detail.to_string().contains("join token"), "{detail}");
}

#[test]
fn bot_data_of_a_real_call_names_the_recorded_user() {
    let bot: Value = serde_json::from_slice(&sample("fragment-botdata-real")).expect("json");
    let offer = call(json!({"user": {"id": ALICE}}), None, bot);
    assert!(offer.policy);
    let holder = "11111111-1111-4111-8111-111111111111@22222222-2222-4222-8222-222222222222";
    assert_eq!(offer.policy_holder.as_deref(), Some(holder));
    assert_eq!(offer.recorded().map(|person| person.id).as_deref(), Some(holder));
}

#[test]
fn ordinary_calls_have_fifteen_seconds() {
    for name in ["incoming-audio-video", "incoming-p2p-minimal", "incoming-p2p-typed", "incoming-pstn-appinstance"] {
        let offer = offer_of(&sample(name));
        assert_eq!((offer.policy, offer.deadline()), (false, Duration::from_secs(15)), "{name}");
        assert!(offer.caller.is_some(), "{name}");
    }
}
