use super::*;

/// Checks JSON against the metadata: every member is declared with that type, and an object whose declared type has kinds
/// names its own.
struct Checker(Value);

impl Checker {
    fn load() -> Checker {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/graph/types.json");
        Checker(serde_json::from_slice(&std::fs::read(path).expect("types")).expect("json"))
    }

    /// The body of an action.
    fn action(&self, name: &str, body: &Value) {
        let parameters = self.0["actions"][name][0]["parameters"].as_array().expect("action").clone();
        for (member, value) in body.as_object().expect("object") {
            let parameter = parameters
                .iter()
                .find(|parameter| parameter["name"] == member.as_str())
                .unwrap_or_else(|| panic!("{name} has no {member}"));
            self.value(&format!("{name}.{member}"), value, parameter);
        }
        for parameter in &parameters {
            let needed = parameter["nullable"] == false;
            assert!(!needed || body.get(parameter["name"].as_str().expect("name")).is_some(), "{name}: {parameter}");
        }
    }

    fn value(&self, at: &str, value: &Value, declared: &Value) {
        if declared["collection"] == true {
            for element in value.as_array().unwrap_or_else(|| panic!("{at} is no list")) {
                self.one(at, element, declared["type"].as_str().expect("type"));
            }
        } else {
            self.one(at, value, declared["type"].as_str().expect("type"));
        }
    }

    fn one(&self, at: &str, value: &Value, declared: &str) {
        match declared {
            "Edm.String" => assert!(value.is_string(), "{at}: {value}"),
            "Edm.Boolean" => assert!(value.is_boolean(), "{at}: {value}"),
            "Edm.Int32" => assert!(value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()), "{at}: {value}"),
            name if self.0["enums"].get(name).is_some() => {
                let members = self.0["enums"][name]["members"].as_array().expect("members");
                assert!(members.iter().any(|member| member["name"] == *value), "{at}: {value} is not in {name}");
            }
            name => self.object(at, value, name),
        }
    }

    fn object(&self, at: &str, value: &Value, declared: &str) {
        let object = value.as_object().unwrap_or_else(|| panic!("{at} is no object"));
        let named = object.get("@odata.type").and_then(Value::as_str);
        let actual = named.map_or(declared, |name| name.strip_prefix("#microsoft.graph.").expect("prefix"));
        assert!(self.0["types"].get(actual).is_some(), "{at}: no type {actual}");
        assert!(self.is_a(actual, declared), "{at}: {actual} is no {declared}");
        // Derived types, and options whose type the service insists on.
        let needs =
            actual != declared || self.0["types"][declared]["abstract"] == true || declared.ends_with("Options");
        assert!(!needs || named.is_some(), "{at} needs @odata.type");
        for (member, value) in object.iter().filter(|(member, _)| *member != "@odata.type") {
            let property = self.property(actual, member).unwrap_or_else(|| panic!("{actual} has no {member}"));
            self.value(&format!("{at}.{member}"), value, property);
        }
    }

    fn is_a(&self, actual: &str, wanted: &str) -> bool {
        actual == wanted || self.0["types"][actual]["base"].as_str().is_some_and(|base| self.is_a(base, wanted))
    }

    fn property(&self, name: &str, member: &str) -> Option<&Value> {
        let kind = &self.0["types"][name];
        kind["properties"].get(member).or_else(|| kind["base"].as_str().and_then(|base| self.property(base, member)))
    }
}

fn sample(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/graph/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).expect("sample")).expect("json")
}

fn plain<'a>(modalities: &'a [String], media: MediaConfig<'a>) -> Answer<'a> {
    Answer {
        callback_uri: "https://bot.contoso.com/api/calls",
        media,
        modalities,
        capacity: 0,
        content_sharing: false,
        delta_roster: false,
        cloud: Cloud::Global,
    }
}

const BLOB: MediaConfig<'static> = MediaConfig::AppHosted("<Media Session Configuration Blob>");

#[test]
fn answers_are_those_of_the_documents() {
    let audio = ["audio".to_owned()];
    assert_eq!(answer_body(&plain(&audio, BLOB)), sample("request-answer-apphosted"));
    let prefetch: Vec<(String, String)> = [("beep", "E"), ("cool", "F")]
        .map(|(name, end)| {
            (format!("https://cdn.contoso.com/{name}.wav"), format!("1D6DE2D4-CD51-4309-8DAA-70768651088{end}"))
        })
        .to_vec();
    assert_eq!(
        answer_body(&plain(&audio, MediaConfig::ServiceHosted(&prefetch))),
        sample("request-answer-servicehosted-prefetch")
    );
    let grouped = Answer { callback_uri: "callbackUri-value", capacity: 200, ..plain(&audio, BLOB) };
    assert_eq!(answer_body(&grouped), sample("request-answer-apphosted-capacity"));
    let options = Answer { content_sharing: true, ..grouped };
    assert_eq!(answer_body(&options), sample("request-answer-apphosted-calloptions"));
}

#[test]
fn bodies_keep_to_the_metadata() {
    let checker = Checker::load();
    let modalities = ["audio", "video", "videoBasedScreenSharing"].map(str::to_owned);
    let prefetch = [("https://a.b/c.wav".to_owned(), "1".to_owned())];
    for media in [BLOB, MediaConfig::ServiceHosted(&prefetch), MediaConfig::ServiceHosted(&[])] {
        for (sharing, delta) in [(false, false), (true, false), (false, true), (true, true)] {
            for capacity in [0, 1, 2, u32::MAX] {
                let answer =
                    Answer { content_sharing: sharing, delta_roster: delta, capacity, ..plain(&modalities, media) };
                let body = answer_body(&answer);
                checker.action("answer", &body);
                assert_eq!(body.get("participantCapacity").is_some(), capacity > 1);
                // Trap 11: options without their type are ignored without an error.
                assert_eq!(body.get("callOptions").is_some(), sharing || delta);
            }
        }
    }
    for reason in [RejectReason::None, RejectReason::Busy, RejectReason::Forbidden] {
        checker.action("reject", &reject_body(reason));
        checker.object("reply", &reject_join(reason), "participantJoiningResponse");
    }
    for status in [RecordingStatus::Recording, RecordingStatus::NotRecording, RecordingStatus::Failed] {
        checker.action("updateRecordingStatus", &recording_body(status, &"x".repeat(300)));
    }
    checker.object("reply", &accept_join(), "participantJoiningResponse");
    checker.object("reply", &invite_new_bot("https://bot2.contoso.com/api/calls"), "participantJoiningResponse");
}

#[test]
fn the_checker_finds_what_is_wrong() {
    let wrong = [
        serde_json::json!({"callbackUri": "x", "mediaConfig": {}}),
        serde_json::json!({"callbackUri": "x", "mediaConfig": sample("request-answer-apphosted")["mediaConfig"], "a": 1}),
        serde_json::json!({"mediaConfig": sample("request-answer-apphosted")["mediaConfig"]}),
    ];
    for body in wrong {
        let checked = std::panic::catch_unwind(|| Checker::load().action("answer", &body));
        assert!(checked.is_err(), "{body}");
    }
}

#[test]
fn replies_and_statuses_are_those_of_the_samples() {
    assert_eq!(accept_join(), sample("x-response-acceptjoin"));
    assert_eq!(reject_join(RejectReason::Busy), sample("x-response-rejectjoin"));
    assert_eq!(invite_new_bot("https://bot2.contoso.com/api/calls"), sample("x-response-invitenewbot"));
    assert_eq!(reject_body(RejectReason::None), sample("request-reject-none"));
    assert_eq!(reject_body(RejectReason::Busy), sample("request-reject-busy"));
    for status in [RecordingStatus::Recording, RecordingStatus::NotRecording, RecordingStatus::Failed] {
        let sample = sample(&format!("x-request-recordingstatus-{}", status.as_str()));
        assert_eq!(recording_body(status, sample["clientContext"].as_str().expect("context")), sample);
    }
}

#[test]
fn clouds_without_call_options_are_sent_none() {
    let audio = ["audio".to_owned()];
    for cloud in [Cloud::UsGovL4, Cloud::UsGovL5] {
        let answer = Answer { cloud, content_sharing: true, delta_roster: true, capacity: 100, ..plain(&audio, BLOB) };
        assert_eq!(answer_body(&answer), sample("request-answer-apphosted"));
    }
}

#[test]
fn answers_go_before_everything_and_not_after_their_deadline() {
    let call = CallId::new("57DAB8B1/..").expect("id");
    let audio = ["audio".to_owned()];
    let ask = answer(&call, &plain(&audio, BLOB), Timestamp(5));
    assert_eq!(ask.address, super::super::ask::Address::Graph("/communications/calls/57DAB8B1%2F../answer".into()));
    assert_eq!((ask.priority, ask.patience), (Priority::Deadline, Patience::Until(Timestamp(5))));
}
