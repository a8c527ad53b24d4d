//! The roster check: what the server lists against what the record says (digest §11).

use serde_json::{Value, json};

use crate::model::{Content, Kind, Participant};

use super::super::courier::CallFailure;
use super::super::http::{Answer, Body, Method};
use super::super::wire::{ChannelEvent, EventType, LinkRef, Resource};
use super::record::Flow;
use super::talk::{Census, Hint, Item, Talk};
use super::timers::Timer;
use super::{Phase, Purpose, Session, TalkKey};

/// Rel of the item that closes a census; not a word of the protocol.
pub(super) const END: &str = "greffier:census";

impl Session {
    /// Asks for every list of people the conversation links to.
    pub(super) fn start_census(&mut self, key: &TalkKey, for_leaving: bool) {
        if self.phase != Phase::Running {
            return;
        }
        let Some(talk) = self.talks.get_mut(key) else { return };
        if talk.part.gone || talk.ended || talk.part.leaving.is_some() {
            return;
        }
        if let Some(census) = talk.part.census.as_mut() {
            census.for_leaving |= for_leaving;
            return;
        }
        let lists = talk.part.lists.clone();
        if lists.is_empty() {
            // A two-party conversation: the channel alone tells who is there.
            if for_leaving && talk.present() == 0 {
                self.leave(key, "nobody else was left in the conversation");
            }
            return;
        }
        talk.part.census = Some(Census { open: lists.len(), whole: true, for_leaving, ..Census::default() });
        for (list, href) in lists {
            let purpose = Purpose::List { talk: key.clone(), list };
            if !self.follow(purpose, Method::Get, &href, Body::Empty) {
                self.list_done(key, None, "");
            }
        }
    }

    pub(super) fn listed(&mut self, key: &TalkKey, list: &str, result: Result<Answer, CallFailure>) {
        let resource = match &result {
            Ok(answer) if answer.status == 200 => Resource::parse(&answer.body).ok(),
            _ => None,
        };
        if let (Some(_), Ok(answer)) = (&resource, &result) {
            let url =
                self.talks.get(key).and_then(|t| t.part.lists.iter().find(|(l, _)| l == list)).map(|(_, u)| u.clone());
            self.keep(&url.unwrap_or_else(|| key.clone()), answer);
        }
        self.list_done(key, resource.as_ref(), list);
    }

    fn list_done(&mut self, key: &TalkKey, resource: Option<&Resource>, list: &str) {
        let mut found = Vec::new();
        if let Some(resource) = resource {
            for embedded in resource.embedded_all("participant") {
                if let Some(href) = embedded.href() {
                    found.push((self.key(href), Some(embedded.clone()), list.to_owned()));
                }
            }
            for link in resource.links("participant") {
                found.push((self.key(&link.href), None, list.to_owned()));
            }
        }
        let Some(census) = self.talks.get_mut(key).and_then(|t| t.part.census.as_mut()) else { return };
        census.open = census.open.saturating_sub(1);
        census.whole &= resource.is_some();
        census.listed.extend(found);
        if census.open == 0 {
            self.close_census(key);
        }
    }

    /// Queues what the lists told behind what the channel told before.
    fn close_census(&mut self, key: &TalkKey) {
        self.count += 1;
        let number = self.count;
        let (now, incarnation) = (self.now, self.incarnation());
        let Some(talk) = self.talks.get_mut(key) else { return };
        let Some(census) = talk.part.census.take() else { return };
        talk.part.roster_known |= census.whole;
        let mut hrefs: Vec<Value> = Vec::new();
        for (href, resource, list) in census.listed {
            if hrefs.contains(&json!(href)) {
                continue;
            }
            hrefs.push(json!(href));
            let role = match list.as_str() {
                "leaders" => Some("Leader".to_owned()),
                "attendees" => Some("Attendee".to_owned()),
                _ => None,
            };
            let in_lobby = (list == "lobby").then(|| LinkRef { rel: "lobby".into(), href: String::new(), title: None });
            talk.queue.push_back(Item {
                envelope: None,
                key: format!("census|{incarnation}|{key}|{number}|{href}"),
                at: now,
                earliest: now,
                date: None,
                sender: "conversation".into(),
                sender_href: key.clone(),
                href: href.clone(),
                event: ChannelEvent {
                    link: LinkRef { rel: "participant".into(), href: href.clone(), title: None },
                    kind: EventType::Added,
                    inside: in_lobby,
                    status: None,
                    reason: None,
                    resource,
                    raw: Value::Null,
                },
                hint: Hint { role, by_census: true, ..Hint::default() },
                history: false,
            });
        }
        talk.queue.push_back(Item {
            envelope: None,
            key: format!("census|{incarnation}|{key}|{number}|end"),
            at: now,
            earliest: now,
            date: None,
            sender: "conversation".into(),
            sender_href: key.clone(),
            href: key.clone(),
            event: ChannelEvent {
                link: LinkRef { rel: END.into(), href: key.clone(), title: None },
                kind: EventType::Completed,
                inside: None,
                status: None,
                reason: None,
                resource: None,
                raw: json!({"listed": hrefs, "whole": census.whole, "for_leaving": census.for_leaving}),
            },
            hint: Hint::default(),
            history: false,
        });
        self.busy.insert(key.clone());
    }

    /// Everybody listed has been recorded: whoever is in the record but not listed has left.
    pub(super) fn record_census_end(&mut self, talk: &mut Talk, key: &TalkKey, item: &Item) -> Flow {
        let whole = item.event.raw["whole"] == json!(true);
        let listed: Vec<String> = item.event.raw["listed"]
            .as_array()
            .map(|l| l.iter().filter_map(|h| h.as_str().map(str::to_owned)).collect())
            .unwrap_or_default();
        let ids: Vec<String> = listed
            .iter()
            .map(|href| talk.people.get(href).map_or_else(|| super::people::address_of(href), |p| p.id.clone()))
            .collect();
        if whole && !listed.is_empty() {
            let gone: Vec<String> = talk.roster.keys().filter(|id| !ids.contains(id)).cloned().collect();
            for id in gone {
                let presence = talk.roster.remove(&id).unwrap_or_default();
                let content = Content {
                    participant: Some(Participant {
                        id: id.clone(),
                        name: presence.name,
                        role: presence.role,
                        in_lobby: None,
                        muted: None,
                    }),
                    detail: Some(json!({"found_by": "roster check"})),
                    ..Content::default()
                };
                let conversation = talk.id.clone();
                let dedupe = format!("{}|left|{id}", item.key);
                self.event(conversation.as_ref(), None, Kind::ParticipantLeft, None, dedupe, content);
            }
        }
        if item.event.raw["for_leaving"] == json!(true) && talk.present() == 0 {
            // Leaving sends requests about this talk, which is out of the table while it is being recorded.
            self.leave_next.insert(key.clone());
            return Flow::Done;
        }
        self.consider_alone(talk, key);
        Flow::Done
    }

    /// Starts or stops the clock after which the recorder leaves an empty conversation.
    ///
    /// Where the server tells of nobody (some two-party conversations), nobody can be seen to have left.
    pub(super) fn consider_alone(&mut self, talk: &mut Talk, key: &TalkKey) {
        let timer = Timer::Alone(key.clone());
        talk.had_company |= talk.present() > 0;
        let told = talk.part.roster_known || talk.had_company;
        let alone = talk.started && !talk.ended && told && talk.present() == 0 && talk.part.leaving.is_none();
        if alone {
            let at = self.now.plus(self.settings.leave_after);
            self.timers.set_if_unset(timer, at);
        } else {
            self.timers.clear(&timer);
        }
    }
}
