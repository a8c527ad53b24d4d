//! The chat of a call that names none (digest §11).
//!
//! A policy call between two users may come without `chatInfo`. Their chat's id is made of their two ids; whether there is
//! such a chat is asked, never taken for granted, and it stays a conversation of its own: only what the platform says makes
//! a call and a chat one.

use serde_json::{Map, Value};

use super::{Action, Call, Phase, Purpose, Turn};
use crate::connector::teams::ask::{Ask, Class, Method, Priority, Reply, encoded};
use crate::connector::teams::fact::Fact;
use crate::connector::teams::member::{at, text};

/// The object id in `8:orgid:<oid>`.
fn object_id(mri: &str) -> Option<String> {
    let id = mri.trim().strip_prefix("8:orgid:")?;
    uuid::Uuid::try_parse(id).ok().map(|id| id.hyphenated().to_string())
}

/// The thread of the two users of a recorded call between two, from its `botData`.
pub(super) fn of_two(call: &Value) -> Option<String> {
    let bot = at(call, &["applicationMetadata", "botData"])?;
    if at(bot, &["isMultiParty"]).and_then(Value::as_bool) != Some(false) {
        return None;
    }
    let mut two = [text(bot, &["user", "policyHolderId"])?, text(bot, &["otherSideUser", "id"])?].map(object_id);
    two.sort();
    match two {
        [Some(one), Some(other)] if one != other => Some(format!("19:{one}_{other}@unq.gbl.spaces")),
        _ => None,
    }
}

impl Call {
    /// The call itself has been asked for and names no chat: asks whether the one that there would be exists.
    pub(super) fn look_for_chat(&mut self, turn: &mut Turn<'_>) {
        if self.phase != Phase::Established || self.thread.is_some() || !turn.settings.follow_chats {
            return;
        }
        let asked = self.asks.values().any(|purpose| matches!(purpose, Purpose::FindChat { .. }));
        let Some(thread) = self.pair.clone().filter(|_| !asked) else { return };
        let path = format!("/chats/{}", encoded(&thread));
        let ask = Ask::graph(Method::Get, path, Class::Other, Priority::Live).of_thread(thread.clone());
        self.ask(Purpose::FindChat { thread }, ask, turn);
    }

    /// Whether there is such a chat.
    pub(super) fn found_chat(&mut self, thread: String, reply: &Reply, turn: &mut Turn<'_>) {
        let known = reply.is_success() || matches!(reply.status(), 403 | 404);
        if self.thread.is_some() || !known {
            // It is asked again when the call is next.
            return;
        }
        self.pair = None;
        let found =
            reply.is_success() && text(&reply.json(), &["id"]).is_some_and(|id| id.eq_ignore_ascii_case(&thread));
        let words = if found {
            format!("the call names no chat; the one of its two users is followed: {thread}")
        } else {
            format!("the call names no chat, and that of its two users cannot be read: {}", reply.trouble())
        };
        let fact = Fact::of_recorder(words, format!("{}|chat of two", self.call_key()), Map::new());
        self.say(fact, turn);
        if found {
            turn.out.push(Action::Chat(thread));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn two_users_in_either_order_have_one_chat() {
        let call = |one: &str, other: &str, many: bool| {
            json!({"applicationMetadata": {"botData": {"isMultiParty": many,
                "user": {"policyHolderId": one}, "otherSideUser": {"id": other}}}})
        };
        let (a, b) = ("8:orgid:8A34A46B-3d17-4adc-8dce-dc4e7d572698", "8:orgid:112f7296-5ca4-4bae-8b44-c1e4b7e4f1b9");
        let thread = "19:112f7296-5ca4-4bae-8b44-c1e4b7e4f1b9_8a34a46b-3d17-4adc-8dce-dc4e7d572698@unq.gbl.spaces";
        assert_eq!(of_two(&call(a, b, false)).as_deref(), Some(thread));
        assert_eq!(of_two(&call(b, a, false)).as_deref(), Some(thread));
        for (one, other, many) in [(a, b, true), (a, a, false), (a, "4:+49891234", false), (a, "8:orgid:x/../y", false)]
        {
            assert_eq!(of_two(&call(one, other, many)), None);
        }
        assert_eq!(of_two(&json!({})), None);
    }
}
