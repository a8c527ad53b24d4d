//! From what is ready to events: versions of messages compared with what is remembered of them, and everything else.

use serde_json::Value;

use super::open::{What, Work};
use super::room::Waiting;
use super::{HOLD, Lane, Ready};
use crate::capture::{Origin, SinkError};
use crate::connector::teams::ask::{Ask, Class, Method, Priority};
use crate::connector::teams::change::Resource;
use crate::connector::teams::fact::Fact;
use crate::connector::teams::message::{self, Identity, Place, Seen};
use crate::connector::teams::{meeting, membership};
use crate::model::{Gap, Kind};

impl Lane {
    /// Reads every version that is ready, older ones first.
    pub(super) async fn read_ready(&mut self) -> Result<(), SinkError> {
        self.roll_calls();
        while !self.ready.is_empty() {
            let mut versions: Vec<(Identity, Ready)> = Vec::new();
            for ready in std::mem::take(&mut self.ready) {
                let identity = message::identify(&ready.json);
                let placed =
                    identity.map(|one| Identity { thread: one.thread.clone().or_else(|| ready.thread.clone()), ..one });
                match placed {
                    Some(identity) if identity.thread.is_some() => versions.push((identity, ready)),
                    _ => {
                        let json = ready.json.clone();
                        self.unknown(ready.work, None, json, Some("it is no message".to_owned())).await?;
                    }
                }
            }
            // Stable, so that what says no time stays in order of arrival.
            versions.sort_by_key(|(identity, _)| identity.modified);
            self.recall(&versions).await?;
            for (identity, ready) in versions {
                self.version(identity, ready);
            }
        }
        Ok(())
    }

    /// Reads from the archive what is remembered of these messages.
    async fn recall(&mut self, versions: &[(Identity, Ready)]) -> Result<(), SinkError> {
        let mut keys: Vec<String> =
            versions.iter().map(|(one, _)| message::key(one.thread.as_deref().unwrap_or_default(), &one.id)).collect();
        keys.retain(|key| !self.seen.contains_key(key));
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() {
            return Ok(());
        }
        let found = self.desk.recall(keys.clone()).await?;
        for (key, value) in keys.into_iter().zip(found) {
            let seen = value.and_then(|value| Seen::from_bytes(&value));
            self.seen.insert(key, seen);
        }
        Ok(())
    }

    fn version(&mut self, identity: Identity, ready: Ready) {
        let thread = identity.thread.clone().unwrap_or_default();
        let key = message::key(&thread, &identity.id);
        if let Some(waiting) = self.busy.get_mut(&key) {
            waiting.push_back(ready);
            return;
        }
        let team = identity.channel.as_ref().map(|(team, _)| team.clone());
        let mut ready = Some(ready);
        let conversation = self.room(&thread, team.as_deref(), || Waiting::Message(ready.take().expect("given once")));
        let (Some(conversation), Some(mut ready)) = (conversation, ready) else { return };
        if self.rooms.get(&thread).is_some_and(|room| room.note.declined) {
            self.done(ready.work.envelope);
            return;
        }
        if identity
            .sender_application
            .as_deref()
            .is_some_and(|one| one.eq_ignore_ascii_case(&self.desk.config.client_id))
            && self.is_notice(&ready.json)
        {
            // Our own notice comes back as a message; it is on record as `notice.sent`.
            self.done(ready.work.envelope);
            return;
        }
        if self.heard.insert(thread.clone()) {
            self.desk.upkeep.heard(&thread, team.as_deref());
        }
        let tenant = self.desk.config.tenant_id.clone();
        let place = Place { thread: &thread, tenant: &tenant };
        let known = self.seen.get(&key).and_then(Option::as_ref);
        let mut reading = message::read(&ready.json, known, &place);
        if reading.unseen_edit && ready.live && !ready.held {
            ready.held = true;
            self.held.push((self.desk.now().plus(HOLD), ready));
            return;
        }
        if !reading.wants.is_empty() && !reading.facts.is_empty() {
            match ready.contents.take() {
                None => {
                    let wants = std::mem::take(&mut reading.wants);
                    self.fetch_contents(ready, key, wants);
                    return;
                }
                Some(contents) => {
                    for (want, outcome) in contents {
                        if let Some(fact) = reading.facts.get_mut(want.fact) {
                            message::kept(fact, &want, outcome);
                        }
                    }
                }
            }
        }
        let again = reading.restate.then(|| Ready {
            work: ready.work.clone(),
            json: ready.json.clone(),
            live: ready.live,
            fault: None,
            answer: None,
            held: true,
            contents: None,
            thread: Some(thread.clone()),
        });
        let origin = match ready.answer.take() {
            Some(answer) => {
                self.batch.envelopes.push(answer);
                Origin::Here(self.batch.envelopes.len() - 1)
            }
            None => Origin::Stored(ready.work.envelope),
        };
        let fault = ready.fault.take();
        for mut fact in reading.facts {
            if let Some(fault) = &fault {
                mark_fetched(&mut fact, fault);
            }
            self.hear(&thread, &fact);
            self.batch.events.push(fact.captured(origin, Some(conversation.clone())));
        }
        self.seen.insert(key.clone(), Some(reading.seen));
        self.touched.insert(key);
        match again {
            Some(again) => self.ask_newest(again, &identity),
            None => self.done(ready.work.envelope),
        }
    }

    /// An older version was told after a newer one: the newest is asked for, so that it can be said again and be the last.
    fn ask_newest(&mut self, ready: Ready, identity: &Identity) {
        let id = identity.id.clone();
        let resource = match (&identity.channel, &identity.reply_to) {
            (Some((team, channel)), Some(root)) => Resource::ChannelMessage {
                team: team.clone(),
                channel: channel.clone(),
                message: root.clone(),
                reply: Some(id),
            },
            (Some((team, channel)), None) => {
                Resource::ChannelMessage { team: team.clone(), channel: channel.clone(), message: id, reply: None }
            }
            (None, _) => Resource::ChatMessage { chat: identity.thread.clone().unwrap_or_default(), message: id },
        };
        let (path, class) = resource.path().unwrap_or((String::new(), Class::Other));
        let budget = resource.budget().unwrap_or_default().to_owned();
        let ask = Ask::graph(Method::Get, path, class, Priority::Live).of_thread(budget);
        self.ask(ask, move |reply| super::Came::Newest(Box::new(ready), reply));
    }

    /// Says the newest version of a message again.
    pub(super) fn restate(&mut self, ready: Ready, reply: &crate::connector::teams::ask::Reply) {
        let thread = ready.thread.clone().unwrap_or_default();
        let conversation = self.rooms.get(&thread).and_then(|room| room.note.conversation.clone());
        let tenant = self.desk.config.tenant_id.clone();
        let place = Place { thread: &thread, tenant: &tenant };
        let seen = ready.key().and_then(|key| self.seen.get(&key).cloned().flatten());
        if let (true, Some(seen)) = (reply.is_success(), seen)
            && let Some((fact, _)) = message::restate(&reply.json(), &seen, &place)
        {
            self.batch.events.push(fact.captured(Origin::Stored(ready.work.envelope), conversation));
        }
        self.done(ready.work.envelope);
    }

    /// Notes of whom something was heard, for the roll call.
    fn hear(&mut self, thread: &str, fact: &Fact) {
        if let Some(room) = self.rooms.get_mut(thread)
            && room.roll_call.is_some()
        {
            let people = fact.content.actor.iter().map(|one| &one.id);
            let people = people.chain(fact.content.participant.iter().map(|one| &one.id));
            room.heard.extend(people.cloned());
        }
    }

    /// Everything that is no version of a message.
    pub(super) async fn tell_other(&mut self, work: Work) -> Result<(), SinkError> {
        match work.what.clone() {
            What::Activity(activity) => self.activity(work, *activity).await,
            What::Meeting(json) => {
                let event = meeting::read(&json, &self.desk.config.tenant_id);
                self.tell_of_meeting(work, event).await
            }
            What::Member { chat, json, change } => {
                let place = Place { thread: &chat, tenant: &self.desk.config.tenant_id };
                let facts = membership::changed(&json, &change, &place);
                self.tell_in(&chat, work, facts).await
            }
            What::Chat { chat, json } => {
                let place = Place { thread: &chat, tenant: &self.desk.config.tenant_id };
                let facts = match membership::renamed(&json, None, &place) {
                    Some(fact) => vec![fact],
                    None => {
                        let mut fact = Fact::new(Kind::PlatformEvent, format!("chat|{chat}|{json}"));
                        fact.content.detail = Some(json);
                        vec![fact]
                    }
                };
                self.tell_in(&chat, work, facts).await
            }
            What::Lifecycle(item) => {
                // Read for good when what follows from it is stored.
                self.awaited += 1;
                let came = self.came.0.clone();
                self.desk.upkeep.lifecycle(
                    &item,
                    Box::new(move || {
                        let _ = came.send(super::Came::Kept(work.envelope));
                    }),
                );
                Ok(())
            }
            What::Unknown { thread, json, fault } => self.unknown(work, thread, json, fault).await,
            What::Message { .. } | What::Fetch { .. } => {
                self.done(work.envelope);
                Ok(())
            }
        }
    }

    /// A call of a meeting, told by its join URL, which holds the id of its chat.
    async fn tell_of_meeting(&mut self, work: Work, event: meeting::MeetingEvent) -> Result<(), SinkError> {
        match event.join_url.as_deref().and_then(thread_in) {
            Some(thread) => self.tell_in(&thread, work, event.facts).await,
            None => {
                for fact in event.facts {
                    self.batch.events.push(fact.captured(Origin::Stored(work.envelope), None));
                }
                self.done(work.envelope);
                Ok(())
            }
        }
    }

    /// Facts of a chat.
    pub(super) async fn tell_in(&mut self, thread: &str, work: Work, facts: Vec<Fact>) -> Result<(), SinkError> {
        let mut given = Some((work, facts));
        let conversation = self.room(thread, None, || {
            let (work, facts) = given.take().expect("given once");
            Waiting::Facts(work, facts)
        });
        let (Some(conversation), Some((work, facts))) = (conversation, given) else { return Ok(()) };
        if !self.rooms.get(thread).is_some_and(|room| room.note.declined) {
            for fact in facts {
                self.hear(thread, &fact);
                self.batch.events.push(fact.captured(Origin::Stored(work.envelope), Some(conversation.clone())));
            }
        }
        self.done(work.envelope);
        Ok(())
    }

    /// What cannot be interpreted is kept with its JSON; what could not even be read is a gap as well.
    async fn unknown(
        &mut self,
        work: Work,
        thread: Option<String>,
        json: Value,
        fault: Option<String>,
    ) -> Result<(), SinkError> {
        let mut fact =
            Fact::new(Kind::PlatformEvent, format!("unknown|{}|{}", work.envelope.0, work.received_at.millis()));
        fact.content.detail = Some(json);
        let mut facts = vec![fact];
        if let Some(fault) = fault {
            let gap = Gap {
                cause: format!("a change notification could not be read ({fault})"),
                from: work.received_at,
                to: work.received_at,
            };
            let mut fact =
                Fact::new(Kind::CaptureGap, format!("unread|{}|{}", work.envelope.0, work.received_at.millis()));
            fact.content.gap = Some(gap);
            facts.push(fact);
        }
        match thread {
            Some(thread) => self.tell_in(&thread, work, facts).await,
            None => {
                for fact in facts {
                    self.batch.events.push(fact.captured(Origin::Stored(work.envelope), None));
                }
                self.done(work.envelope);
                Ok(())
            }
        }
    }
}

/// The chat in a join URL: `…/19%3ameeting_…%40thread.v2/…`.
fn thread_in(url: &str) -> Option<String> {
    let url = percent_encoding::percent_decode_str(url).decode_utf8_lossy().into_owned();
    let from = url.find("19:meeting_")?;
    let rest = url.get(from..)?;
    let end = rest.find("@thread.v2")? + "@thread.v2".len();
    rest.get(..end).map(str::to_owned)
}

/// The mark of a message that came by another way than it was sent.
fn mark_fetched(fact: &mut Fact, fault: &str) {
    let detail = fact.content.detail.get_or_insert_with(|| Value::Object(serde_json::Map::new()));
    if let Some(detail) = detail.as_object_mut() {
        detail.insert("fetched_because".to_owned(), fault.into());
    }
}
