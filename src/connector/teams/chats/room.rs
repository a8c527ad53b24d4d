//! A chat or channel as the lane knows it: its conversation, whether it is recorded, and what waits until that is clear.
//!
//! The first thing heard of a chat opens it: its head (topic, members) is asked for, and what came meanwhile waits, so that
//! `conversation.started` comes before what was said. A chat that belongs to a call continues the call's conversation.

use std::collections::HashSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::open::Work;
use super::{Came, Concerned, Lane, Ready};
use crate::capture::{CursorChange, Origin, SinkError};
use crate::connector::teams::ask::{Ask, Class, Method, Patience, Priority, Reply, encoded};
use crate::connector::teams::conversations;
use crate::connector::teams::fact::Fact;
use crate::connector::teams::membership::{self, ChatHead, ChatKind};
use crate::model::{Content, ConversationId, Gap, Kind, Participant, Person, Timestamp};

/// Cursor entries of chats.
const CURSOR: &str = "room/";

/// After opening, the members that nothing was heard of are told so much later: what the chat itself says of them comes
/// first.
const ROLL_CALL: Duration = Duration::from_secs(5);

/// What is remembered of a chat across runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Note {
    /// Our conversation.
    pub(super) conversation: Option<ConversationId>,
    /// An invitation into it was declined: nothing in it is recorded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) declined: bool,
    /// We were put into it, and not taken out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) invited: bool,
    /// The team of a channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) team: Option<String>,
    /// Where the notice is to be said, until it is known what came of it: service URL and conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) notice: Option<(String, String)>,
}

/// A chat.
#[derive(Default)]
pub(super) struct Room {
    pub(super) note: Note,
    opening: bool,
    waiting: Vec<Waiting>,
    /// The notice is on its way.
    pub(super) telling: bool,
    /// Members as the head told them, until the roll call.
    members: Vec<Person>,
    pub(super) roll_call: Option<Timestamp>,
    /// Whom something was heard of.
    pub(super) heard: HashSet<String>,
}

/// What waits for a chat to be opened.
pub(super) enum Waiting {
    Message(Ready),
    Facts(Work, Vec<Fact>),
    Gap(Gap),
}

/// The chats of an earlier run.
pub(super) fn restored(cursor: &[(String, Vec<u8>)]) -> std::collections::HashMap<String, Room> {
    let of = |(key, value): &(String, Vec<u8>)| {
        let thread = key.strip_prefix(CURSOR)?;
        let note = serde_json::from_slice(value).ok()?;
        Some((thread.to_owned(), Room { note, ..Room::default() }))
    };
    cursor.iter().filter_map(of).collect()
}

impl Lane {
    /// The chat's conversation, if it is open. Otherwise the chat is being opened, and `wait` is kept for it.
    pub(super) fn room(
        &mut self,
        thread: &str,
        team: Option<&str>,
        wait: impl FnOnce() -> Waiting,
    ) -> Option<ConversationId> {
        let room = self.rooms.entry(thread.to_owned()).or_default();
        if let Some(conversation) = &room.note.conversation {
            return Some(conversation.clone());
        }
        room.waiting.push(wait());
        if !std::mem::replace(&mut room.opening, true) {
            if room.note.team.is_none() {
                room.note.team = team.map(str::to_owned);
            }
            let path = match (&room.note.team, thread.starts_with("19:")) {
                (Some(team), _) => Some(format!("/teams/{}/channels/{}", encoded(team), encoded(thread))),
                (None, true) => Some(format!("/chats/{}?$expand=members", encoded(thread))),
                // A bot's own chat with one person has no name in Graph.
                (None, false) => None,
            };
            let budget = room.note.team.clone().unwrap_or_else(|| thread.to_owned());
            let thread = thread.to_owned();
            match path {
                Some(path) => {
                    let ask = Ask::graph(Method::Get, path, Class::Other, Priority::Live).of_thread(budget);
                    let ask = Ask { patience: Patience::Tries(2), ..ask };
                    self.ask(ask, move |reply| Came::Head(thread, reply));
                }
                None => {
                    self.awaited += 1;
                    let _ = self.came.0.send(Came::Head(thread, Reply::Failed("it has no name in Graph".to_owned())));
                }
            }
        }
        None
    }

    /// The head of a chat has come, or will not.
    pub(super) async fn head(&mut self, thread: &str, reply: &Reply) -> Result<(), SinkError> {
        let desk = std::sync::Arc::clone(&self.desk);
        let alias = conversations::thread(thread);
        let here = desk.conversations.find_or_open(&desk, std::slice::from_ref(&alias)).await?;
        let json = if reply.is_success() { reply.json() } else { serde_json::Value::Null };
        let head = membership::head(&json, &desk.config.tenant_id);
        // A channel calls itself by another member.
        let channel = json.get("displayName").and_then(serde_json::Value::as_str).map(str::to_owned);
        let topic = head.as_ref().and_then(|head| head.topic.clone()).or(channel);
        let room = self.rooms.entry(thread.to_owned()).or_default();
        room.note.conversation = Some(here.id.clone());
        room.opening = false;
        let waiting = std::mem::take(&mut room.waiting);
        self.batch.aliases.push((here.id.clone(), alias));
        let mut facts = Vec::new();
        if !here.of_call && !here.started && !room.note.declined {
            room.members = head.as_ref().map(|head| head.members.clone()).unwrap_or_default();
            room.roll_call = Some(desk.now().plus(ROLL_CALL));
            if desk.conversations.start(&here.id).await {
                facts.push(started(thread, topic, head.as_ref()));
            }
            facts.push(Fact::new(Kind::RecordingStarted, format!("recording|chat|{thread}")));
        } else if let Some(topic) = topic.filter(|topic| !topic.is_empty()) {
            let mut fact = Fact::new(Kind::ConversationChanged, format!("topic|{thread}|{topic}"));
            fact.content = Content { subject: Some(topic), ..Content::default() };
            facts.push(fact);
        }
        for fact in facts {
            self.batch.events.push(fact.captured(Origin::Recorder, Some(here.id.clone())));
        }
        self.note(thread);
        self.say_notice(thread).await;
        for waiting in waiting {
            match waiting {
                Waiting::Message(ready) => self.ready.push(ready),
                Waiting::Facts(work, facts) => self.tell_in(thread, work, facts).await?,
                Waiting::Gap(gap) => self.gap(thread, gap).await?,
            }
        }
        Ok(())
    }

    /// Writes down what is remembered of a chat with the next append.
    pub(super) fn note(&mut self, thread: &str) {
        if let Some(room) = self.rooms.get(thread) {
            let value = serde_json::to_vec(&room.note).ok();
            self.batch.cursor.push(CursorChange { key: format!("{CURSOR}{thread}"), value });
        }
    }

    /// Members of whom nothing was heard since the chat was opened.
    pub(super) fn roll_calls(&mut self) {
        let now = self.desk.now();
        for (thread, room) in &mut self.rooms {
            if room.roll_call.is_none_or(|at| at > now) {
                continue;
            }
            room.roll_call = None;
            for person in std::mem::take(&mut room.members) {
                if room.heard.contains(&person.id) {
                    continue;
                }
                let mut fact = Fact::new(Kind::ParticipantJoined, format!("member|{thread}|{}", person.id));
                let Person { id, name } = person;
                fact.content.participant = Some(Participant { id, name, ..Participant::default() });
                fact.content.detail = Some(serde_json::json!({"found_by": "member list"}));
                self.batch.events.push(fact.captured(Origin::Recorder, room.note.conversation.clone()));
            }
            room.heard = HashSet::new();
        }
    }

    /// Chats that a span of silence concerns.
    pub(super) fn threads_of(&self, of: &Concerned) -> Vec<String> {
        match of {
            Concerned::Thread(thread) => vec![thread.clone()],
            Concerned::Scope => {
                let recorded = |room: &Room| !room.note.declined && room.note.conversation.is_some();
                self.rooms.iter().filter(|(_, room)| recorded(room)).map(|(thread, _)| thread.clone()).collect()
            }
        }
    }

    /// Whether the head of the chat is waited for.
    pub(super) fn is_opening(&self, thread: &str) -> bool {
        self.rooms.get(thread).is_some_and(|room| room.opening)
    }

    /// Logs a gap in a chat.
    pub(super) async fn gap(&mut self, thread: &str, gap: Gap) -> Result<(), SinkError> {
        let Some(conversation) = self.room(thread, None, || Waiting::Gap(gap.clone())) else { return Ok(()) };
        let mut fact = Fact::new(
            Kind::CaptureGap,
            format!("gap|{thread}|{}|{}|{}", gap.cause, gap.from.millis(), gap.to.micros()),
        );
        fact.content.gap = Some(gap);
        self.batch.events.push(fact.captured(Origin::Recorder, Some(conversation)));
        Ok(())
    }
}

fn started(thread: &str, topic: Option<String>, head: Option<&ChatHead>) -> Fact {
    let mut fact = Fact::new(Kind::ConversationStarted, format!("started|chat|{thread}"));
    fact.source_time = head.and_then(|head| head.created);
    fact.content.subject = topic;
    fact.content.source_id = Some(thread.to_owned());
    let mut detail = serde_json::Map::new();
    let kind = head.and_then(|head| match head.kind {
        ChatKind::OneOnOne => Some("one on one"),
        ChatKind::Group => Some("group"),
        ChatKind::Meeting => Some("meeting"),
        ChatKind::Unknown => None,
    });
    if let Some(kind) = kind {
        detail.insert("chat_type".to_owned(), kind.into());
    }
    if let Some(url) = head.and_then(|head| head.join_url.clone()) {
        detail.insert("join_url".to_owned(), url.into());
    }
    fact.content.detail = (!detail.is_empty()).then_some(serde_json::Value::Object(detail));
    fact
}
