//! What a subscription resource covers: one chat, one channel, the chats of a user, everything.

use super::ask::encoded;

/// What a resource covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One chat.
    Chat(String),
    /// One channel: team and channel.
    Channel(String, String),
    /// The chats of a user.
    User(String),
    /// Every chat of the tenant, or whatever else is configured.
    Wide,
}

impl Scope {
    /// Reads a resource, for example `/chats/19:a@thread.v2/messages`.
    pub fn of(resource: &str) -> Scope {
        let decoded = percent_encoding::percent_decode_str(resource).decode_utf8_lossy().into_owned();
        let pieces: Vec<&str> =
            decoded.split('?').next().unwrap_or_default().split('/').filter(|p| !p.is_empty()).collect();
        match pieces.as_slice() {
            ["chats", chat, "messages"] => Scope::Chat((*chat).to_owned()),
            ["teams", team, "channels", channel, "messages"] => {
                Scope::Channel((*team).to_owned(), (*channel).to_owned())
            }
            ["users", user, "chats", _] => Scope::User((*user).to_owned()),
            _ => Scope::Wide,
        }
    }

    /// The resource of a chat, or of a channel of a team.
    pub fn resource(thread: &str, team: Option<&str>) -> String {
        match team {
            Some(team) => format!("/teams/{team}/channels/{thread}/messages"),
            None => format!("/chats/{thread}/messages"),
        }
    }

    /// Path below `/v1.0` of the messages of a chat or channel.
    pub fn path(thread: &str, team: Option<&str>) -> String {
        match team {
            Some(team) => format!("/teams/{}/channels/{}/messages", encoded(team), encoded(thread)),
            None => format!("/chats/{}/messages", encoded(thread)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_say_what_they_cover() {
        assert_eq!(Scope::of("/chats/19:a@thread.v2/messages"), Scope::Chat("19:a@thread.v2".into()));
        assert_eq!(Scope::of("chats/19%3Aa%40thread.v2/messages"), Scope::Chat("19:a@thread.v2".into()));
        assert_eq!(Scope::of("/teams/t/channels/19:c/messages"), Scope::Channel("t".into(), "19:c".into()));
        assert_eq!(Scope::of("/users/u/chats/getAllMessages"), Scope::User("u".into()));
        assert_eq!(Scope::of("/chats/getAllMessages?model=A"), Scope::Wide);
    }
}
