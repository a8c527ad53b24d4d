//! Every recorded payload of messages, activities, chats and meeting events says what `tests/fixtures/graph-expected.tsv`
//! says it does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::fact::Fact;
use super::message::Place;
use super::{activity, meeting, membership, message};

const TENANT: &str = "00000000-0000-0000-0000-00000000000f";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn load(name: &str) -> Value {
    let path = folder().join("graph").join(name);
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

fn fact_digest(fact: &Fact) -> String {
    let content = &fact.content;
    let mut words = vec![fact.kind.to_string(), fact.source_time.map_or("-".into(), |t| t.rfc3339())];
    let mut add = |name: &str, value: Option<String>| words.extend(value.map(|value| format!("{name}={value}")));
    add("actor", content.actor.as_ref().map(|a| a.id.clone()));
    add(
        "who",
        content
            .participant
            .as_ref()
            .map(|p| format!("{}{}", p.id, p.role.as_ref().map(|r| format!(" ({r})")).unwrap_or_default())),
    );
    add("subject", content.subject.clone());
    add("reaction", content.reaction.clone());
    if let Some(message) = &content.message {
        add("id", Some(message.id.clone()));
        add("to", message.in_reply_to.clone());
        add("text", Some(format!("{:?}", message.text)));
        add(
            "mentions",
            (!message.mentions.is_empty())
                .then(|| message.mentions.iter().map(|m| m.id.as_str()).collect::<Vec<_>>().join(",")),
        );
        add(
            "files",
            (!message.attachments.is_empty()).then(|| {
                message.attachments.iter().map(|a| a.name.as_deref().unwrap_or("?")).collect::<Vec<_>>().join(",")
            }),
        );
    }
    words.join(" ")
}

fn messages(list: &[&Value]) -> String {
    let read = list.iter().flat_map(|json| {
        let identity = message::identify(json).unwrap();
        let thread = identity.thread.unwrap_or_default();
        let reading = message::read(json, None, &Place { thread: &thread, tenant: TENANT });
        let wants = reading.wants.len();
        let more = if wants > 0 { format!(" wants={wants}") } else { String::new() };
        reading.facts.iter().map(|fact| format!("{}{more}", fact_digest(fact))).collect::<Vec<_>>()
    });
    read.collect::<Vec<_>>().join("; ")
}

/// The same words as the table's, made by the code under test. `None`: not a kind that is read here.
fn digest(kind: &str, json: &Value) -> Option<String> {
    let facts = |facts: &[Fact]| facts.iter().map(fact_digest).collect::<Vec<_>>().join("; ");
    let page = || json["value"].as_array().map(|list| list.iter().collect::<Vec<_>>()).unwrap_or_default();
    Some(match kind {
        "chat.message" | "changeNotification.decrypted.chatMessage" => messages(&[json]),
        "chat.response.list" | "chat.response.delta" | "chat.response.export" => messages(&page()),
        kind if kind.starts_with("chat.system.") => messages(&[json]),
        kind if kind.starts_with("bot.") => {
            let read = activity::read(json, TENANT, "");
            format!("{:?} {} {}", read.what, read.thread, facts(&read.facts))
        }
        "changeNotification.decrypted.meetingCall" => {
            let read = meeting::read(json, TENANT);
            format!("{:?} {}", read.what, facts(&read.facts))
        }
        "chat.response.chat" => {
            let list = if json.get("value").is_some() { page() } else { vec![json] };
            let heads = list.iter().map(|chat| {
                let head = membership::head(chat, TENANT).unwrap();
                format!("{:?} {} {}", head.kind, head.id, head.topic.unwrap_or_default())
            });
            heads.collect::<Vec<_>>().join("; ")
        }
        "chat.response.members" => {
            let people = membership::members(json, TENANT);
            people
                .iter()
                .map(|p| format!("{} {}", p.id, p.name.as_deref().unwrap_or("-")))
                .collect::<Vec<_>>()
                .join("; ")
        }
        _ => return None,
    })
}

#[test]
fn every_sample_says_what_the_table_says() {
    let index = std::fs::read_to_string(folder().join("graph/INDEX.tsv")).unwrap();
    let table = std::fs::read_to_string(folder().join("graph-expected.tsv")).unwrap();
    let mut expected: BTreeMap<&str, &str> =
        table.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_once('\t').unwrap()).collect();
    let mut wrong = Vec::new();
    for line in index.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, _, kind, "in", ..] = fields[..] else { continue };
        let Some(found) = digest(kind, &load(name)) else { continue };
        let wanted = expected.remove(name).unwrap_or("not in the table");
        if found != wanted {
            wrong.push(format!("{name}\n  found  {found}\n  wanted {wanted}"));
        }
    }
    assert!(expected.is_empty(), "no such samples: {expected:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
