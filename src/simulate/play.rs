//! Plays the steps of a scenario, one after the other, against the pool.

use std::sync::Arc;

use super::channel::Priority;
use super::conversation::Messaging;
use super::ledger::{Fate, Happened};
use super::pool::{Pool, Sender};
use super::resources::Happening;
use super::scenario::{Act, Condition, ConditionKind, Step};
use super::shell::Shared;

/// Plays all steps.
///
/// # Errors
/// A step cannot be played, or what it waits for does not come; the text names the scenario's line.
pub(super) async fn play(shared: Arc<Shared>, steps: Vec<Step>) -> Result<(), String> {
    for step in steps {
        if !step.after.is_zero() {
            tokio::time::sleep(step.after).await;
        }
        play_step(&shared, &step.act).await.map_err(|e| format!("scenario line {}: {e}", step.line))?;
    }
    Ok(())
}

async fn play_step(shared: &Arc<Shared>, act: &Act) -> Result<(), String> {
    match act {
        Act::WaitFor { condition, within } => {
            if shared.until(*within, |pool| pool.holds(condition)).await {
                Ok(())
            } else {
                Err(format!("waited {} ms in vain for {condition:?}", within.as_millis()))
            }
        }
        Act::Say { talk, by, words, times, every, announce } => {
            // A burst is said in handfuls, so that polls are answered in between.
            let handful = if every.is_zero() { 20 } else { 1 };
            let mut said = 0;
            while said < *times {
                if said > 0 && !every.is_zero() {
                    tokio::time::sleep(*every).await;
                }
                let until = times.min(&(said + handful)).to_owned();
                shared.with(|pool| {
                    let t = pool.present(talk, by)?;
                    for n in said + 1..=until {
                        let mut words = words.clone();
                        if *times > 1 {
                            for form in [&mut words.text, &mut words.html].into_iter().flatten() {
                                *form = form.replace("{n}", &n.to_string());
                            }
                        } else {
                            let line = format!("{} in \"{talk}\": {}", pool.display(by), words.shown());
                            pool.tell(line);
                        }
                        pool.say(t, by, &words, *announce);
                    }
                    Ok::<_, String>(())
                })?;
                said = until;
                tokio::task::yield_now().await;
            }
            if *times > 1 {
                shared.with(|pool| pool.tell(format!("{} says {times} things in \"{talk}\"", pool.display(by))));
            }
            Ok(())
        }
        act => shared.with(|pool| pool.act(act)),
    }
}

impl Pool {
    /// The number of an existing talk.
    fn known(&self, name: &str) -> Result<usize, String> {
        self.talk(name).ok_or_else(|| format!("there is no conversation \"{name}\" yet"))
    }

    /// The talk, if this person is in it.
    fn present(&self, name: &str, who: &str) -> Result<usize, String> {
        let t = self.known(name)?;
        if self.talks[t].members.iter().any(|m| m.id == who) {
            Ok(t)
        } else {
            Err(format!("\"{who}\" is not in \"{name}\""))
        }
    }

    /// Whether what a step waits for has come.
    pub(super) fn holds(&self, c: &Condition) -> bool {
        let t = self.talk(&c.talk);
        let session = t.and_then(|t| self.talks[t].session.as_ref());
        match c.kind {
            ConditionKind::Application => !self.apps.is_empty(),
            ConditionKind::NoApplication => self.apps.is_empty(),
            ConditionKind::Available => self.apps.values().any(|a| a.available),
            ConditionKind::Polling => self.apps.values().any(|a| a.channel.holding()),
            ConditionKind::Joined => session.is_some_and(|s| matches!(s.state, "Connected" | "Conferenced")),
            ConditionKind::Connected => session.is_some_and(|s| s.messaging == Messaging::Connected),
            ConditionKind::Disconnected => session.is_none_or(|s| s.messaging != Messaging::Connected),
            ConditionKind::Left => t.is_some() && session.is_none(),
            ConditionKind::Sent => t.is_some_and(|t| self.talks[t].sent >= c.count),
            ConditionKind::AddMessaging => t.is_some_and(|t| self.talks[t].add_messaging >= c.count),
            ConditionKind::Acknowledged => self
                .ledger
                .said()
                .filter(|e| c.talk.is_empty() || e.talk == c.talk)
                .all(|e| !matches!(e.fate, Fate::Queued | Fate::Fetched)),
            ConditionKind::Refused => u64::from(self.ledger.refused_passwords) >= c.count,
        }
    }

    fn talk_for(&mut self, name: &str, subject: &str, importance: &'static str) -> usize {
        match self.talk(name) {
            Some(t) => t,
            None => self.add_talk(name, subject, importance),
        }
    }

    fn role_of(&self, id: &str) -> &'static str {
        self.person(id).map_or("Attendee", |p| p.role)
    }

    fn act(&mut self, act: &Act) -> Result<(), String> {
        match act {
            Act::Pause | Act::WaitFor { .. } | Act::Say { .. } => {}
            Act::Narrate(text) => self.tell(text.clone()),
            Act::InviteMeeting {
                talk,
                by,
                subject,
                people,
                importance,
                lobby,
                conflicts,
                from_link,
                unprompted,
                modalities,
            } => {
                let t = self.talk_for(talk, subject, importance);
                self.make_meeting(t, by);
                for id in std::iter::once(by).chain(people) {
                    let role = if id == by { "Leader" } else { self.role_of(id) };
                    self.add_member(t, id, role, false);
                }
                self.talks[t].conflicts = *conflicts;
                self.tell(format!("{} invites the recorder to the meeting \"{talk}\"", self.display(by)));
                let rung = self.ring(
                    t,
                    "onlineMeetingInvitation",
                    by,
                    None,
                    false,
                    *from_link,
                    *lobby,
                    modalities.clone(),
                    false,
                );
                if let (Some(id), true) = (rung, *unprompted) {
                    self.accept_unprompted(t, &id);
                }
            }
            Act::InviteChat { talk, by, subject, words, importance, repeat_first, unprompted } => {
                let t = self.talk_for(talk, subject, importance);
                if self.talks[t].session.is_some() {
                    return Err(format!("the recorder is in \"{talk}\" already"));
                }
                let role = self.role_of(by);
                self.add_member(t, by, role, false);
                let first = words.as_ref().map(|w| format!(": {}", w.shown())).unwrap_or_default();
                self.tell(format!("{} writes to the recorder, \"{talk}\"{first}", self.display(by)));
                let rung =
                    self.ring(t, "messagingInvitation", by, words.clone(), *repeat_first, false, false, vec![], false);
                if let (Some(id), true) = (rung, *unprompted) {
                    self.accept_unprompted(t, &id);
                }
            }
            Act::InviteOther { talk, by, rel } => {
                let t = self.talk_for(talk, "", "Normal");
                let role = self.role_of(by);
                self.add_member(t, by, role, false);
                let how = match *rel {
                    "audioVideoInvitation" => "calls the recorder",
                    "phoneAudioInvitation" => "calls the recorder by telephone",
                    "applicationSharingInvitation" => "wants to share a screen with the recorder",
                    _ => "invites the recorder",
                };
                self.tell(format!("{} {how}, \"{talk}\"", self.display(by)));
                let keep = self.talks[t].session.is_some();
                self.ring(t, rel, by, None, false, false, false, vec![], keep);
            }
            Act::CancelInvitation { talk, code, subcode } => {
                let t = self.known(talk)?;
                let open = self
                    .invitations
                    .iter()
                    .find(|(_, i)| i.talk == t && i.incoming && !i.done)
                    .map(|(id, _)| id.clone());
                let id = open.ok_or_else(|| format!("there is no open invitation to \"{talk}\""))?;
                let state = match subcode.as_str() {
                    "Canceled" => "Cancelled",
                    "Forwarded" => "Forwarded",
                    _ => "Failed",
                };
                self.tell(format!("The invitation to \"{talk}\" ends: {subcode}"));
                self.fail_invitation(&id, state, code, subcode);
            }
            Act::Typing { talk, by, on } => {
                let t = self.present(talk, by)?;
                self.typing(t, by, *on);
            }
            Act::Join { talk, who, role, lobby, embedded } => {
                let t = self.known(talk)?;
                self.join(t, who, role, *lobby, *embedded);
            }
            Act::Leave { talk, who, subcode } => {
                let t = self.present(talk, who)?;
                self.leave(t, who, subcode.as_deref());
            }
            Act::Role { talk, who, role } => {
                let t = self.present(talk, who)?;
                self.set_role(t, who, role);
            }
            Act::Admit { talk, who } => {
                let t = self.known(talk)?;
                self.admit(t, who.as_deref());
            }
            Act::Deny { talk, who } => {
                let t = self.known(talk)?;
                self.deny(t, who.as_deref());
            }
            Act::Eject { talk } => {
                let t = self.known(talk)?;
                self.tell(format!("The recorder is removed from \"{talk}\""));
                self.close_session(t, Some(("RemoteFailure", "Ejected")), true);
            }
            Act::DropMessaging { talk, subcode, offer } => {
                let t = self.known(talk)?;
                for i in self.invitations.values_mut().filter(|i| i.talk == t && !i.incoming) {
                    i.done = true;
                }
                self.set_messaging(t, Messaging::Disconnected(*offer), Some(("RemoteFailure", subcode)));
                self.tell(format!("The messages of \"{talk}\" stop reaching the recorder ({subcode})"));
            }
            Act::OfferMessaging { talk } => {
                let t = self.known(talk)?;
                self.set_messaging(t, Messaging::Disconnected(true), None);
            }
            Act::AudienceMessaging { talk, on } => {
                let t = self.known(talk)?;
                self.talks[t].audience_messaging = *on;
                self.emit_conversation(t, "updated", None);
                self.set_messaging(t, Messaging::Disconnected(*on), None);
            }
            Act::Conflicts { talk, times } => {
                let t = self.known(talk)?;
                self.talks[t].conflicts = *times;
            }
            Act::FailSends { talk, times } => {
                let t = self.known(talk)?;
                self.talks[t].fail_sends = *times;
            }
            Act::Escalate { talk, by, add, new_href, invite } => {
                return self.escalate(talk, by, add, *new_href, *invite);
            }
            Act::Idle { talk } => {
                let t = self.known(talk)?;
                self.tell(format!("\"{talk}\" has been idle for long; the session ends, the talk does not"));
                self.close_session(t, Some(("RemoteFailure", "Ended")), true);
            }
            Act::Modality { talk, who, rel, kind } => {
                let t = self.known(talk)?;
                self.modality(t, who, rel, kind);
            }
            Act::Subject { talk, subject } => {
                let t = self.known(talk)?;
                self.talks[t].subject.clone_from(subject);
                self.emit_conversation(t, "updated", None);
            }
            Act::End { talk, deleted_only } => {
                let t = self.known(talk)?;
                self.talks[t].over = true;
                self.note(Happened::Ended, talk, "", "", "");
                self.tell(format!("\"{talk}\" is over"));
                self.close_session(t, Some(("RemoteFailure", "Ended")), !deleted_only);
                self.talks[t].members.clear();
            }
            Act::Event { talk, sender, rel, href, kind, body, priority } => {
                self.raw_event(talk.as_deref(), sender, rel, href, kind, body.clone(), priority)?;
            }
            Act::Fault(fault) => {
                self.tell(fault.to_string());
                self.strike(fault.clone());
            }
        }
        Ok(())
    }

    /// The server accepts on its own; the user has yet to acknowledge.
    fn accept_unprompted(&mut self, t: usize, id: &str) {
        if let Some(s) = self.talks[t].session.as_mut() {
            s.unacknowledged = true;
        }
        self.accept(id);
    }

    fn escalate(&mut self, talk: &str, by: &str, add: &[String], new_href: bool, invite: bool) -> Result<(), String> {
        let t = self.present(talk, by)?;
        if self.talks[t].meeting_uri.is_some() {
            return Err(format!("\"{talk}\" is a meeting already"));
        }
        let names: Vec<String> = add.iter().map(|id| self.display(id)).collect();
        self.tell(format!("{} makes \"{talk}\" a meeting and adds {}", self.display(by), names.join(", ")));
        if let Some(s) = self.talks[t].session.as_mut() {
            s.state = "Conferencing";
        }
        self.emit_conversation(t, "updated", None);
        if new_href {
            // The two-party session ends with the move; the invitation names another conversation of the same thread.
            self.close_session(t, Some(("RemoteFailure", "Ended")), true);
        } else {
            self.set_messaging(t, Messaging::Disconnected(false), Some(("RemoteFailure", "Replaced")));
        }
        self.make_meeting(t, by);
        for id in add {
            let role = self.role_of(id);
            self.add_member(t, id, role, false);
        }
        if let Some(m) = self.talks[t].members.iter_mut().find(|m| m.id == by) {
            m.role = "Leader";
        }
        let modalities = vec!["Messaging".to_owned()];
        let id = self.ring(t, "onlineMeetingInvitation", by, None, false, false, false, modalities, !new_href);
        if let (Some(id), false) = (id, invite) {
            self.accept(&id);
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the sides of an event as the scenario writes them")]
    fn raw_event(
        &mut self,
        talk: Option<&str>,
        sender: &str,
        rel: &str,
        href: &str,
        kind: &str,
        body: Option<serde_json::Value>,
        priority: &str,
    ) -> Result<(), String> {
        let key = match talk {
            Some(name) => {
                let t = self.known(name)?;
                Some(self.session_key(t).ok_or_else(|| format!("the recorder is not in \"{name}\""))?)
            }
            None => None,
        };
        let app = key
            .as_ref()
            .map(|(app, _)| app.clone())
            .or_else(|| self.available_app())
            .ok_or("there is no application")?;
        let h = self.hrefs(&app);
        let base = key.as_ref().map_or_else(|| h.root.clone(), |(_, id)| h.conversation(id));
        let kind = match kind {
            "added" => "added",
            "deleted" => "deleted",
            "started" => "started",
            "completed" => "completed",
            "updated" => "updated",
            _ => "transmogrified",
        };
        let href = if href.is_empty() { format!("{base}/{rel}") } else { href.replace("{conversation}", &base) };
        let mut happening = Happening::new(rel, href, kind);
        happening.body = body;
        let sender = match (sender, &key) {
            ("conversation", Some((_, id))) => Sender::Conversation(id),
            ("me", _) => Sender::Me,
            _ => Sender::Communication,
        };
        let priority = match priority {
            "medium" => Priority::Medium,
            "low" => Priority::Low,
            _ => Priority::High,
        };
        self.emit(&app, sender, priority, happening);
        Ok(())
    }
}
