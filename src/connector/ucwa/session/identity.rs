//! Which of our conversations a handle of the server is: by its thread, its meeting, or its address.

use crate::capture::{Alias, Known};
use crate::model::ConversationId;

use super::super::wire::Resource;
use super::lookup::Look;
use super::talk::{Item, Notice, Talk};
use super::{Action, AskId, Session, TalkKey};

impl Session {
    /// Takes thread, meeting and subject from a conversation or invitation.
    pub(super) fn learn(&self, talk: &mut Talk, rel: &str, resource: &Resource) {
        if rel != "conversation" && rel != "onlineMeeting" && !rel.ends_with("Invitation") {
            return;
        }
        let told = |name: &str| resource.text(name).filter(|v| !v.is_empty()).map(str::to_owned);
        if talk.thread.is_none() {
            talk.thread = told("threadId");
        }
        if talk.meeting.is_none() {
            talk.meeting = told("onlineMeetingUri");
        }
    }

    /// Whether the talk has our id; starts finding it if not.
    pub(super) fn identify(&mut self, talk: &mut Talk, key: &TalkKey, item: &Item) -> bool {
        if talk.id.is_some() {
            return true;
        }
        if talk.finding {
            return false;
        }
        if talk.thread.is_none() && talk.meeting.is_none() {
            match self.look(item, key) {
                Look::Waiting => return false,
                Look::Ready(resource) => self.learn(talk, "conversation", &resource),
                Look::Missing => {}
            }
        }
        // Another handle of the same conversation in memory may not be durable yet: it wins over the archive.
        let sibling = self
            .talks
            .values()
            .find(|t| t.id.is_some() && !t.declined && t.same_as(talk.thread.as_deref(), talk.meeting.as_deref()));
        if let Some(sibling) = sibling {
            talk.id.clone_from(&sibling.id);
            talk.started = sibling.started;
            talk.notice = sibling.notice.clone();
            talk.roster = sibling.roster.clone();
            talk.subject.clone_from(&sibling.subject);
            if talk.notice == Notice::Failed {
                talk.notice = Notice::Due;
            }
            self.identified(talk, key);
            return true;
        }
        let lost = self
            .lost
            .values()
            .find(|l| l.talk.same_as(talk.thread.as_deref(), talk.meeting.as_deref()))
            .map(|l| l.id.clone());
        if let Some(id) = lost {
            talk.id = Some(id);
            self.identified(talk, key);
            return true;
        }
        self.count += 1;
        let ask = AskId(self.count);
        talk.finding = true;
        self.finds.insert(ask, key.clone());
        let aliases = talk.aliases(&self.incarnation(), key);
        self.out.push(Action::Find(ask, aliases));
        false
    }

    fn identified(&mut self, talk: &mut Talk, key: &TalkKey) {
        talk.changed = true;
        let Some(id) = talk.id.clone() else { return };
        self.attach_lost(talk, &id);
        let aliases: Vec<Alias> = talk.aliases(&self.incarnation(), key);
        self.outbox.aliases.extend(aliases.into_iter().map(|alias| (id.clone(), alias)));
        self.notice_due.insert(key.clone());
    }

    pub(super) fn found(&mut self, ask: AskId, known: Option<Known>) {
        let Some(key) = self.finds.remove(&ask) else { return };
        let mut random = [0u8; 10];
        self.rng.fill(&mut random);
        let Some(mut talk) = self.talks.remove(&key) else { return };
        talk.finding = false;
        match known {
            Some(known) => {
                talk.started = known.started;
                if known.notice_sent {
                    talk.notice = Notice::Sent;
                }
                talk.id = Some(known.id);
            }
            None => talk.id = Some(ConversationId::new(self.now, random)),
        }
        self.identified(&mut talk, &key);
        self.talks.insert(key.clone(), talk);
        self.busy.insert(key.clone());
    }
}
