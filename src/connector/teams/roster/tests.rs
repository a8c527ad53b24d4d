use serde_json::json;

use super::*;

const T: Timestamp = Timestamp(1_000);

fn scope() -> Scope {
    Scope {
        tenant: "t".into(),
        client_id: "bot".into(),
        conversation: "chain|t|c".into(),
        leg: "l".into(),
        own: Some("ME".into()),
    }
}

fn person(id: &str, user: &str) -> Value {
    json!({"id": id, "info": {"identity": {"user": {"id": user, "displayName": user}}}, "isMuted": false, "isInLobby": false})
}

fn with(mut participant: Value, name: &str, value: Value) -> Value {
    participant[name] = value;
    participant
}

fn delta(number: impl Into<Option<i64>>, participants: Vec<Value>) -> Value {
    json!([{"@odata.type": "#microsoft.graph.deltaParticipants", "participants": participants,
        "sequenceNumber": number.into()}])
}

/// Facts in short: `joined user:a`, `changed user:a muted=true`, …
fn short(facts: &[Fact]) -> Vec<String> {
    facts
        .iter()
        .map(|fact| {
            let p = fact.content.participant.clone().unwrap_or_default();
            let mut text = format!("{} {}", fact.kind.as_str().trim_start_matches("participant."), p.id);
            if let Some(muted) = p.muted.filter(|muted| *muted || fact.kind == Kind::ParticipantChanged) {
                text += &format!(" muted={muted}");
            }
            if let Some(lobby) = p.in_lobby.filter(|lobby| *lobby || fact.kind == Kind::ParticipantChanged) {
                text += &format!(" lobby={lobby}");
            }
            if let Some(detail) = fact.content.detail.as_ref() {
                text += &format!(" {detail}");
            }
            text
        })
        .collect()
}

fn full(roster: &mut Roster, list: Vec<Value>) -> Vec<String> {
    short(&roster.apply(RosterForm::Full, &Value::Array(list), &scope(), T).facts)
}

fn step(roster: &mut Roster, data: Value) -> (Vec<String>, bool) {
    let applied = roster.apply(RosterForm::Delta, &data, &scope(), T);
    (short(&applied.facts), applied.needs_resync)
}

#[test]
fn a_full_list_tells_who_joined_changed_and_left() {
    let mut roster = Roster::default();
    assert_eq!(full(&mut roster, vec![person("1", "a"), person("2", "b")]), ["joined user:a", "joined user:b"]);
    assert!(full(&mut roster, vec![person("1", "a"), person("2", "b")]).is_empty());
    let muted = with(person("1", "a"), "isMuted", json!(true));
    assert_eq!(full(&mut roster, vec![muted]), ["changed user:a muted=true", "left user:b"]);
    assert_eq!(roster.humans(), 1);
    assert_eq!(full(&mut roster, vec![]), ["left user:a"]);
    assert_eq!((roster.humans(), roster.had_humans()), (0, true));
}

#[test]
fn trap_7_absence_in_a_delta_means_nothing() {
    let mut roster = Roster::default();
    step(&mut roster, delta(1, vec![person("1", "a"), person("2", "b")]));
    assert_eq!(step(&mut roster, delta(2, vec![])), (vec![], false));
    let removed = with(person("2", "b"), "removedState", json!({"reason": "Removed"}));
    assert_eq!(step(&mut roster, delta(3, vec![removed])).0, ["left user:b"]);
    assert_eq!(roster.humans(), 1);
}

#[test]
fn numbers_order_deltas_and_a_hole_asks_for_the_list() {
    let mut roster = Roster::default();
    let at =
        |n: i64, muted: bool| with(with(person("1", "a"), "rosterSequenceNumber", json!(n)), "isMuted", json!(muted));
    step(&mut roster, delta(1, vec![at(1, false)]));
    // Equal number: a duplicate. Lower list number: only what is newer of each participant counts.
    assert_eq!(step(&mut roster, delta(1, vec![at(1, true)])), (vec![], false));
    assert_eq!(step(&mut roster, delta(5, vec![at(5, true)])), (vec!["changed user:a muted=true".into()], true));
    assert_eq!(
        step(&mut roster, delta(3, vec![at(3, false), person("2", "b")])),
        (vec!["joined user:b".into()], false)
    );
    // A removal that is older than what is known removes nobody.
    let removed = with(at(4, true), "removedState", json!({"reason": "x"}));
    assert_eq!(step(&mut roster, delta(6, vec![removed])).0, Vec::<String>::new());
    let removed = with(at(7, true), "removedState", json!({"reason": "x"}));
    assert_eq!(step(&mut roster, delta(7, vec![removed])).0, ["left user:a"]);
    // News from before the removal do not bring anybody back.
    assert_eq!(step(&mut roster, delta(6, vec![at(6, true)])).0, Vec::<String>::new());
}

#[test]
fn the_lobby_is_joining_waiting_being_admitted_or_refused() {
    let mut roster = Roster::default();
    let waiting = |id, user| with(person(id, user), "isInLobby", json!(true));
    assert_eq!(
        full(&mut roster, vec![waiting("1", "a"), waiting("2", "b")]),
        ["joined user:a lobby=true", "joined user:b lobby=true"]
    );
    assert_eq!(
        full(&mut roster, vec![person("1", "a")]),
        ["changed user:a lobby=false", r#"left user:b lobby=true {"was":"waiting in the lobby"}"#]
    );
}

#[test]
fn a_person_with_two_devices_has_left_with_the_second() {
    let mut roster = Roster::default();
    full(&mut roster, vec![person("1", "a"), person("2", "a")]);
    assert_eq!(roster.humans(), 1);
    assert_eq!(full(&mut roster, vec![person("2", "a")]), [r#"changed user:a {"device":"left","devices":1}"#]);
    assert_eq!(full(&mut roster, vec![]), ["left user:a"]);
}

#[test]
fn a_rejoin_is_another_joining() {
    let mut roster = Roster::default();
    full(&mut roster, vec![person("1", "a")]);
    full(&mut roster, vec![]);
    assert_eq!(full(&mut roster, vec![person("3", "a")]), ["joined user:a"]);
    // Lists in the wrong order: the same id comes back, and is not taken for the first joining.
    let mut keys = Vec::new();
    for list in [vec![], vec![person("3", "a")]] {
        let applied = roster.apply(RosterForm::Full, &Value::Array(list), &scope(), T);
        keys.extend(applied.facts.into_iter().map(|fact| fact.dedupe));
    }
    assert_eq!(keys, ["roster|chain|t|c|3|left|1", "roster|chain|t|c|3|joined|2"]);
}

#[test]
fn our_own_legs_are_no_participants_and_other_bots_are_no_humans() {
    let mut roster = Roster::default();
    let bot = |id: &str, app: &str| json!({"id": id, "info": {"identity": {"application": {"id": app}}}});
    let instance = json!({"id": "me", "info": {"identity": {"applicationInstance": {"id": "x"}}}});
    let list = vec![bot("1", "BOT"), bot("2", "other"), instance];
    assert_eq!(full(&mut roster, list), [r#"joined application:other {"bot":true}"#]);
    assert_eq!((roster.humans(), roster.had_humans(), roster.present().count()), (0, false, 1));
    assert!(full(&mut roster, vec![bot("2", "other")]).is_empty());
}

#[test]
fn a_fetched_list_takes_absent_people_for_gone_only_if_nothing_came_since() {
    let mut roster = Roster::default();
    let fetched = |roster: &mut Roster, list: Value, at: i64| {
        short(&roster.apply_fetched(&json!({"value": list}), Timestamp(at), &scope()).facts)
    };
    assert_eq!(fetched(&mut roster, json!([person("1", "a")]), 500), ["joined user:a"]);
    full(&mut roster, vec![person("1", "a"), person("2", "b")]);
    assert!(fetched(&mut roster, json!([person("1", "a")]), 999).is_empty());
    assert_eq!(
        fetched(&mut roster, json!([person("1", "a"), person("3", "c")]), 2_000),
        [r#"joined user:c {"found_by":"roster check"}"#, "left user:b"]
    );
    let page = json!({"value": [], "@odata.nextLink": "https://x"});
    assert!(roster.apply_fetched(&page, Timestamp(3_000), &scope()).facts.is_empty());
}

#[test]
fn streams_screens_restrictions_and_recording_changes_are_told_in_detail() {
    let mut roster = Roster::default();
    full(&mut roster, vec![person("1", "a")]);
    let screen = json!([{"mediaType": "videoBasedScreenSharing", "direction": "sendOnly", "serverMuted": true}]);
    let shares = with(person("1", "a"), "mediaStreams", screen);
    let said = full(&mut roster, vec![shares.clone()]);
    assert!(said[0].contains(r#""screen_sharing":true,"server_muted":true"#), "{said:?}");
    let recorded = with(shares, "recordingInfo", json!({"recordingStatus": "recording"}));
    let said = full(&mut roster, vec![recorded]);
    assert_eq!(said, [r#"changed user:a {"recording_status":"recording"}"#]);
}

#[test]
fn trap_31_hostile_metadata_and_names_are_bounded() {
    let mut roster = Roster::default();
    let huge = "\u{202e}<script>".repeat(100_000);
    let hostile = with(person("1", &huge), "metadata", json!(huge));
    let facts = roster.apply(RosterForm::Full, &json!([hostile, 17, null, {"id": []}]), &scope(), T).facts;
    assert_eq!(facts.len(), 1);
    assert!(facts[0].content.canonical().len() < 10_000);
    assert!(facts[0].dedupe.len() < 1_000);
}

#[test]
fn a_telephone_without_id_is_known_by_its_number() {
    let mut roster = Roster::default();
    let phone = json!({"id": null, "info": {"identity": {"phone": {"id": "+12345678901"}}}});
    assert_eq!(full(&mut roster, vec![phone.clone()]), ["joined tel:+12345678901"]);
    assert!(full(&mut roster, vec![phone]).is_empty());
}

#[test]
fn mute_again_without_numbers_is_another_fact() {
    let mut roster = Roster::default();
    let mut keys = std::collections::BTreeSet::new();
    full(&mut roster, vec![person("1", "a")]);
    for muted in [true, false, true, false] {
        let list = json!([with(person("1", "a"), "isMuted", json!(muted))]);
        for fact in roster.apply(RosterForm::Full, &list, &scope(), T).facts {
            keys.insert(fact.dedupe);
        }
    }
    assert_eq!(keys.len(), 4);
}
