//! Subscription resources: one spelling for each, and what each allows (digest §12).

use std::time::Duration;

use percent_encoding::percent_decode_str;

/// The longest life of anything about chats.
const THREE_DAYS: Duration = Duration::from_secs(4320 * 60);
/// What any resource grants.
const ONE_HOUR: Duration = Duration::from_secs(60 * 60);

/// The one spelling: a slash in front, no query, not percent-encoded, none of our API version.
pub fn canonical(resource: &str) -> String {
    let path = resource.trim().split(['?', '#']).next().unwrap_or_default();
    let path = percent_decode_str(path).decode_utf8_lossy();
    let path = path.trim_matches('/');
    let path = path.strip_prefix("v1.0/").unwrap_or(path);
    format!("/{path}")
}

/// Whether two spellings name the same resource; the service may change the case of letters.
pub fn same(one: &str, other: &str) -> bool {
    canonical(one).eq_ignore_ascii_case(&canonical(other))
}

fn last_segment(resource: &str) -> String {
    canonical(resource).rsplit('/').next().unwrap_or_default().to_ascii_lowercase()
}

/// Whether `?model=` is said of it.
pub(super) fn takes_model(resource: &str) -> bool {
    last_segment(resource) == "getallmessages"
}

/// Whether notifications on it may hold the changed thing itself, encrypted.
pub fn carries_content(resource: &str) -> bool {
    let last = last_segment(resource);
    matches!(last.as_str(), "messages" | "getallmessages" | "members" | "getallmembers" | "chats" | "onlinemeetings")
        || is_one_chat(resource)
}

/// The longest life the service grants: 4320 minutes for everything about chats, an hour for what is not known.
pub fn longest_life(resource: &str) -> Duration {
    if carries_content(resource) { THREE_DAYS } else { ONE_HOUR }
}

/// `changeType`.
pub(super) fn change_types(resource: &str) -> &'static str {
    if last_segment(resource) == "onlinemeetings" { "updated" } else { "created,updated,deleted" }
}

fn is_one_chat(resource: &str) -> bool {
    let path = canonical(resource);
    let mut segments = path.split('/').skip(1);
    segments.next().is_some_and(|first| first.eq_ignore_ascii_case("chats")) && segments.count() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_has_one_spelling() {
        for spelling in [
            "/chats/19:a@thread.v2/messages",
            "chats/19:a@thread.v2/messages",
            "/chats/19%3Aa%40thread.v2/messages/",
            "/v1.0/chats/19:a@thread.v2/messages?model=A",
        ] {
            assert_eq!(canonical(spelling), "/chats/19:a@thread.v2/messages", "{spelling}");
        }
        assert!(same("Chats/getallmessages?model=A", "/chats/getAllMessages"));
        assert!(!same("/chats/getAllMessages", "/teams/getAllMessages"));
    }

    #[test]
    fn resources_about_chats_live_three_days_and_others_an_hour() {
        for resource in ["/chats/getAllMessages", "/chats/1/messages", "/teams/1/channels/2/messages", "/chats/1"] {
            assert!(carries_content(resource), "{resource}");
            assert_eq!(longest_life(resource), THREE_DAYS);
        }
        assert!(!carries_content("/communications/callRecords"));
        assert_eq!(longest_life("/communications/callRecords"), ONE_HOUR);
    }

    #[test]
    fn the_model_is_said_of_get_all_messages_only() {
        assert!(takes_model("/users/1/chats/getAllMessages"));
        assert!(!takes_model("/chats/1/messages"));
    }
}
