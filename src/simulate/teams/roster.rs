//! Coming and going in a call, the lobby, muting and sharing, and how legs are told.

use serde_json::{Value, json};

use super::call::{Present, Stage};
use super::ledger::{RosterChange, RosterEntry};
use super::tenant::Tenant;

impl Tenant {
    /// Participant id of somebody who is there; empty for one who is not.
    pub fn participant_id(&self, g: usize, who: &str) -> String {
        self.gatherings[g].present.iter().find(|p| p.who == who).map(|p| p.id.clone()).unwrap_or_default()
    }

    /// Enters a change into the ledger of every leg of the call.
    fn note(&mut self, g: usize, change: RosterChange, who: &str, participant: &str) {
        let oid = self.member(who).map(|m| m.oid.clone()).unwrap_or_default();
        let at_ms = self.now_ms;
        let ids: Vec<String> = self.gatherings[g].legs.iter().map(|l| l.id.clone()).collect();
        for record in self.ledger.calls.iter_mut().filter(|r| ids.contains(&r.id)) {
            record.roster.push(RosterEntry { at_ms, change, who: oid.clone(), participant: participant.to_owned() });
        }
    }

    /// Somebody comes; into the lobby or straight in.
    pub fn come(&mut self, g: usize, who: &str, lobby: bool, metadata: Option<String>) {
        let id = self.guid();
        self.gatherings[g].seq += 1;
        let seq = self.gatherings[g].seq;
        self.gatherings[g].present.push(Present {
            who: who.to_owned(),
            id: id.clone(),
            lobby,
            muted: false,
            sharing: None,
            seq,
            metadata,
        });
        self.note(g, if lobby { RosterChange::InLobby } else { RosterChange::Joined }, who, &id);
        self.tell_roster(g, None, &[id], None);
        if let Some(c) = self.gatherings[g].chat {
            if !lobby && !self.chats[c].members.iter().any(|m| m == who) {
                self.chats[c].members.push(who.to_owned());
            }
            if !lobby {
                self.meeting_event(c, "meetingParticipantJoin", who);
            }
        }
    }

    /// Somebody goes, whether they were in or in the lobby.
    pub fn go(&mut self, g: usize, who: &str, tell: bool) {
        let Some(at) = self.gatherings[g].present.iter().position(|p| p.who == who) else { return };
        if self.gatherings[g].present[at].sharing.is_some() {
            self.share(g, who, false);
        }
        let gone = self.gatherings[g].present.remove(at);
        self.gatherings[g].seq += 1;
        self.note(g, RosterChange::Left, who, &gone.id);
        if tell {
            self.tell_roster(g, None, &[], Some(&gone));
        }
        if let Some(c) = self.gatherings[g].chat {
            self.meeting_event(c, "meetingParticipantLeave", who);
        }
    }

    fn with_present(&mut self, name: &str, who: &str) -> Result<(usize, usize), String> {
        let g = self.gathering(name)?;
        let at = self.gatherings[g].present.iter().position(|p| p.who == who);
        let at = at.ok_or_else(|| format!("\"{who}\" is not in the call \"{name}\""))?;
        self.gatherings[g].seq += 1;
        let seq = self.gatherings[g].seq;
        self.gatherings[g].present[at].seq = seq;
        Ok((g, at))
    }

    /// Somebody joins a call by name.
    pub fn join_call(&mut self, name: &str, who: &str, lobby: bool, metadata: Option<String>) -> Result<(), String> {
        self.member(who)?;
        let g = self.gathering(name)?;
        self.tell(match lobby {
            true => format!("{} waits in the lobby of \"{name}\"", self.display(who)),
            false => format!("{} joins \"{name}\"", self.display(who)),
        });
        self.come(g, who, lobby, metadata);
        Ok(())
    }

    /// Somebody leaves a call by name.
    pub fn leave_call(&mut self, name: &str, who: &str) -> Result<(), String> {
        let (g, _) = self.with_present(name, who)?;
        self.tell(format!("{} leaves \"{name}\"", self.display(who)));
        self.go(g, who, true);
        Ok(())
    }

    /// Somebody is let in from the lobby.
    pub fn admit(&mut self, name: &str, who: &str) -> Result<(), String> {
        let (g, at) = self.with_present(name, who)?;
        self.gatherings[g].present[at].lobby = false;
        let id = self.gatherings[g].present[at].id.clone();
        self.tell(format!("{} is let in", self.display(who)));
        self.note(g, RosterChange::Joined, who, &id);
        self.tell_roster(g, None, &[id], None);
        if let Some(c) = self.gatherings[g].chat
            && !self.chats[c].members.iter().any(|m| m == who)
        {
            self.chats[c].members.push(who.to_owned());
        }
        Ok(())
    }

    /// Somebody mutes or unmutes.
    pub fn mute(&mut self, name: &str, who: &str, on: bool) -> Result<(), String> {
        let (g, at) = self.with_present(name, who)?;
        self.gatherings[g].present[at].muted = on;
        let id = self.gatherings[g].present[at].id.clone();
        self.note(g, if on { RosterChange::Muted } else { RosterChange::Unmuted }, who, &id);
        self.tell_roster(g, None, &[id], None);
        Ok(())
    }

    /// Somebody starts or stops to share the screen, by name of the call.
    pub fn share_in(&mut self, name: &str, who: &str, on: bool) -> Result<(), String> {
        let (g, _) = self.with_present(name, who)?;
        self.tell(format!("{} {} the screen", self.display(who), if on { "shares" } else { "stops sharing" }));
        self.share(g, who, on);
        Ok(())
    }

    fn share(&mut self, g: usize, who: &str, on: bool) {
        let Some(at) = self.gatherings[g].present.iter().position(|p| p.who == who) else { return };
        let session = match (&self.gatherings[g].present[at].sharing, on) {
            (None, true) => format!("{}{}", self.guid(), self.guid()).replace('-', "").to_uppercase(),
            (Some(session), false) => session.clone(),
            _ => return,
        };
        self.gatherings[g].present[at].sharing = on.then(|| session.clone());
        let id = self.gatherings[g].present[at].id.clone();
        self.note(g, if on { RosterChange::SharingStarted } else { RosterChange::SharingEnded }, who, &id);
        let now = self.now_ms;
        let legs: Vec<String> = self.gatherings[g].legs.iter().map(|l| l.id.clone()).collect();
        for record in self.ledger.calls.iter_mut().filter(|r| legs.contains(&r.id)) {
            match record.sharing.iter_mut().find(|s| s.0 == session) {
                Some(open) => open.2 = Some(now),
                None => record.sharing.push((session.clone(), now, None)),
            }
        }
        self.tell_sharing(g, None, &session, if on { "created" } else { "deleted" });
        self.tell_roster(g, None, &[id], None);
    }

    /// Tells legs (one, or all that are in) about a sharing session.
    pub fn tell_sharing(&mut self, g: usize, only: Option<usize>, session: &str, change: &str) {
        for l in 0..self.gatherings[g].legs.len() {
            let leg = &self.gatherings[g].legs[l];
            if leg.stage == Stage::Established && leg.sharing_wanted && only.is_none_or(|o| o == l) {
                let data = json!([{ "@odata.type": "#microsoft.graph.contentSharingSession", "id": session }]);
                self.notify_call(g, l, "sharing", change, "/contentsharingsessions", Some(data));
            }
        }
    }

    /// Tells legs (one, or all that are in) about the roster: the whole list, or what changed, as each wants it.
    pub fn tell_roster(&mut self, g: usize, only: Option<usize>, changed: &[String], removed: Option<&Present>) {
        if self.bare_roster(g) {
            return;
        }
        for l in 0..self.gatherings[g].legs.len() {
            let leg = &self.gatherings[g].legs[l];
            if leg.stage != Stage::Established || only.is_some_and(|o| o != l) {
                continue;
            }
            let data = if leg.delta { self.delta_json(g, changed, removed) } else { json!(self.roster_json(g)) };
            self.notify_call(g, l, "participants", "updated", "/participants", Some(data));
        }
    }

    fn delta_json(&self, g: usize, changed: &[String], removed: Option<&Present>) -> Value {
        let gathering = &self.gatherings[g];
        let mut list: Vec<Value> = gathering
            .present
            .iter()
            .filter(|p| changed.contains(&p.id))
            .map(|p| self.participant_json(p, true))
            .collect();
        if let Some(gone) = removed {
            let mut shown = self.participant_json(gone, true);
            shown["rosterSequenceNumber"] = json!(gathering.seq);
            shown["removedState"] =
                json!({ "@odata.type": "#microsoft.graph.removedState", "reason": "Removed from roster" });
            list.push(shown);
        }
        json!([{
            "@odata.type": "#microsoft.graph.deltaParticipants",
            "participants": list, "sequenceNumber": gathering.seq,
        }])
    }
}
