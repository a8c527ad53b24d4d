//! What can be read back, and the requests for it.

use crate::connector::teams::ask::{Address, Ask, Class, Method, Priority, encoded};
use crate::connector::teams::subscription::canonical;
use crate::model::Timestamp;

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// One chat.
    Chat {
        /// `19:…@thread.v2`.
        thread: String,
    },
    /// One channel, with replies.
    Channel {
        /// The team's id.
        team: String,
        /// `19:…@thread.tacv2`.
        channel: String,
    },
    /// Every chat of one user.
    User {
        /// Object id.
        id: String,
    },
}

impl Target {
    /// From a subscription resource; `None` for one that names no single chat, channel or user.
    pub fn of_resource(resource: &str) -> Option<Target> {
        let path = canonical(resource);
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let is = |segment: &str, name: &str| segment.eq_ignore_ascii_case(name);
        match segments.as_slice() {
            [chats, id, messages] if is(chats, "chats") && is(messages, "messages") => {
                Some(Target::Chat { thread: (*id).to_owned() })
            }
            [teams, team, channels, channel, messages]
                if is(teams, "teams") && is(channels, "channels") && is(messages, "messages") =>
            {
                Some(Target::Channel { team: (*team).to_owned(), channel: (*channel).to_owned() })
            }
            [users, id, chats, all] if is(users, "users") && is(chats, "chats") && is(all, "getAllMessages") => {
                Some(Target::User { id: (*id).to_owned() })
            }
            _ => None,
        }
    }

    /// The subscription resource of the same.
    pub fn resource(&self) -> String {
        match self {
            Target::Chat { thread } => format!("/chats/{thread}/messages"),
            Target::Channel { team, channel } => format!("/teams/{team}/channels/{channel}/messages"),
            Target::User { id } => format!("/users/{id}/chats/getAllMessages"),
        }
    }

    /// The first page. With `filtered`, only what changed after `since` is asked for, where that is possible.
    pub(super) fn first(&self, since: Option<Timestamp>, until: Timestamp, model: &str, filtered: bool) -> Ask {
        let path = match self {
            Target::Chat { thread } => {
                let path = format!("/chats/{}/messages?$top=50", encoded(thread));
                match (filtered, since) {
                    (false, _) => path,
                    // The filter is ignored without the order by the same member; ascending is refused (trap 21).
                    (true, None) => format!("{path}&$orderby=lastModifiedDateTime%20desc"),
                    (true, Some(since)) => format!(
                        "{path}&$orderby=lastModifiedDateTime%20desc&$filter=lastModifiedDateTime%20gt%20{}",
                        encoded(&since.rfc3339())
                    ),
                }
            }
            Target::Channel { team, channel } => {
                let path = format!("/teams/{}/channels/{}/messages?$top=50", encoded(team), encoded(channel));
                if filtered { format!("{path}&$expand=replies") } else { path }
            }
            Target::User { id } => {
                let after = since.map_or(String::new(), |since| {
                    format!("lastModifiedDateTime%20gt%20{}%20and%20", encoded(&since.rfc3339()))
                });
                let model = if model.is_empty() { String::new() } else { format!("&model={}", encoded(model)) };
                format!(
                    "/users/{}/chats/getAllMessages?$top=200&$filter={after}lastModifiedDateTime%20lt%20{}{model}",
                    encoded(id),
                    encoded(&until.rfc3339())
                )
            }
        };
        self.ask(Address::Graph(path))
    }

    /// The replies to one root of a channel.
    pub(super) fn replies(&self, root: &str) -> Option<Ask> {
        let Target::Channel { team, channel } = self else { return None };
        let (team, channel) = (encoded(team), encoded(channel));
        let path = format!("/teams/{team}/channels/{channel}/messages/{}/replies?$top=50", encoded(root));
        Some(self.ask(Address::Graph(path)))
    }

    pub(super) fn ask(&self, address: Address) -> Ask {
        let (class, thread) = match self {
            Target::Chat { thread } => (Class::ChatMessages, Some(thread.clone())),
            // Counted for the whole team (digest §18).
            Target::Channel { team, .. } => (Class::ChannelMessages, Some(team.clone())),
            Target::User { .. } => (Class::Export, None),
        };
        Ask { address, thread, ..Ask::graph(Method::Get, "", class, Priority::Backfill) }
    }

    /// Whether it can be asked for without `$filter`, `$orderby` and `$expand`.
    pub(super) fn is_plain_without_filter(&self) -> bool {
        !matches!(self, Target::User { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_and_targets_are_two_spellings_of_the_same() {
        for resource in ["/chats/19:a@thread.v2/messages", "/teams/t/channels/19:c@thread.tacv2/messages"] {
            assert_eq!(Target::of_resource(resource).map(|target| target.resource()).as_deref(), Some(resource));
        }
        assert_eq!(Target::of_resource("users/U/chats/getAllMessages?model=A"), Some(Target::User { id: "U".into() }));
        for other in ["/chats/getAllMessages", "/teams/getAllMessages", "/chats/x/members", "", "/"] {
            assert_eq!(Target::of_resource(other), None, "{other}");
        }
    }
}
