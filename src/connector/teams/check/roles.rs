//! Which application permissions a configuration needs, and what a token says about them (digest §1).

use super::super::config::{Media, ResolvedTeams};
use crate::connector::{CheckLine, CheckOutcome};

/// One permission that the configuration needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Need {
    /// As in the role claim: the least one that does it, then others that do it too.
    pub(super) roles: &'static [&'static str],
    /// Others that do a part of it, and what is missing then.
    pub(super) partly: Option<(&'static [&'static str], &'static str)>,
    /// What does not work without it.
    pub(super) without: &'static str,
}

impl Need {
    /// The least one.
    pub(super) fn role(&self) -> &'static str {
        self.roles.first().copied().unwrap_or_default()
    }
}

const GROUP_CALLS: Need = Need {
    // Documents spell it both ways.
    roles: &["Calls.JoinGroupCall.All", "Calls.JoinGroupCalls.All", "Calls.JoinGroupCallAsGuest.All"],
    partly: None,
    without: "group calls, meetings and calls of a recording policy cannot be answered",
};

const MEDIA: Need =
    Need { roles: &["Calls.AccessMedia.All"], partly: None, without: "calls cannot be answered with app-hosted media" };

const CHATS: Need = Need {
    roles: &["Chat.Read.All", "Chat.ReadWrite.All"],
    partly: Some((
        &["Chat.Read.WhereInstalled", "Chat.ReadWrite.WhereInstalled"],
        "only the chats in which the app is installed are recorded; of the others a gap is",
    )),
    without: "chats cannot be read, not even those of calls (follow_call_chats)",
};

const ALL_CHATS: Need = Need { partly: None, without: "the chats of chat_scopes cannot be followed", ..CHATS };

const CHANNELS: Need = Need {
    roles: &["ChannelMessage.Read.All"],
    partly: None,
    without: "the channels of chat_scopes cannot be followed, unless ChannelMessage.Read.Group was consented to in their \
              teams, which the token does not show",
};

/// What the configuration needs, each once.
pub(super) fn needed(config: &ResolvedTeams) -> Vec<Need> {
    let mut needs = Vec::new();
    if config.cloud.has_calls() {
        needs.push(GROUP_CALLS);
        if !matches!(config.media, Media::ServiceHosted { .. }) {
            needs.push(MEDIA);
        }
    }
    let wide = |scope: &String| scope.ends_with("/chats/getAllMessages");
    if config.chat_scopes.iter().any(wide) {
        needs.push(ALL_CHATS);
    } else if config.follow_call_chats || config.chat_scopes.iter().any(|scope| scope.starts_with("/chats/")) {
        needs.push(CHATS);
    }
    if config.chat_scopes.iter().any(|scope| scope.starts_with("/teams/")) {
        needs.push(CHANNELS);
    }
    needs
}

/// One line for all that is there, one for each that is missing. `roles` is the claim of the token; empty = the token has
/// none, or cannot be read.
pub(super) fn judge(needs: &[Need], roles: &[String]) -> Vec<CheckLine> {
    let held = |list: &'static [&'static str]| -> Option<&'static str> {
        list.iter().find(|one| roles.iter().any(|role| role.eq_ignore_ascii_case(one))).copied()
    };
    let mut lines = Vec::new();
    let mut used = Vec::new();
    for need in needs {
        if let Some(role) = held(need.roles) {
            used.push(role);
            continue;
        }
        let step = format!("permission {}", need.role());
        let grant = "add it under API permissions (Microsoft Graph, application) and give admin consent";
        let line = match need.partly.and_then(|(list, missing)| held(list).map(|role| (role, missing))) {
            Some((role, missing)) => {
                used.push(role);
                CheckLine { step, outcome: CheckOutcome::Warning, note: format!("only {role}: {missing}") }
            }
            None => {
                let note = format!("not in the token: {}; {grant}", need.without);
                CheckLine { step, outcome: CheckOutcome::Bad, note }
            }
        };
        lines.push(line);
    }
    let unused = |role: &&str| !used.iter().any(|used| used.eq_ignore_ascii_case(role));
    let rest: Vec<&str> = roles.iter().map(String::as_str).filter(unused).collect();
    let mut note = match used.as_slice() {
        [] => "none that this configuration needs".to_owned(),
        used => used.join(", "),
    };
    if !rest.is_empty() {
        note.push_str(&format!("; also there and not needed by this configuration: {}", rest.join(", ")));
    }
    let outcome = if needs.is_empty() || !used.is_empty() { CheckOutcome::Good } else { CheckOutcome::Bad };
    lines.insert(0, CheckLine { step: "permissions in the token".to_owned(), outcome, note });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::teams::check::tests::config;

    fn roles(config: &ResolvedTeams) -> Vec<&'static str> {
        needed(config).iter().map(Need::role).collect()
    }

    fn judged(config: &ResolvedTeams, held: &[&str]) -> Vec<(CheckOutcome, String)> {
        let held: Vec<String> = held.iter().map(|role| (*role).to_owned()).collect();
        judge(&needed(config), &held)
            .into_iter()
            .map(|line| (line.outcome, format!("{}: {}", line.step, line.note)))
            .collect()
    }

    #[test]
    fn what_is_needed_follows_from_what_is_configured() {
        assert_eq!(roles(&config("")), ["Calls.JoinGroupCall.All", "Chat.Read.All"]);
        assert_eq!(roles(&config("follow_call_chats = false")), ["Calls.JoinGroupCall.All"]);
        let app = config("media = \"app-hosted\"\nmedia_blob_file = \"x\"\nfollow_call_chats = false");
        assert_eq!(roles(&app), ["Calls.JoinGroupCall.All", "Calls.AccessMedia.All"]);
        let channel = "/teams/44444444-4444-4444-8444-444444444444/channels/19:x@thread.tacv2/messages";
        let china = config(&format!("cloud = \"china\"\nchat_scopes = [\"/chats/getAllMessages\", \"{channel}\"]"));
        assert_eq!(roles(&china), ["Chat.Read.All", "ChannelMessage.Read.All"]);
    }

    #[test]
    fn a_missing_permission_is_named_with_what_does_not_work() {
        let lines = judged(&config(""), &["Chat.Read.All", "Mail.Send"]);
        assert_eq!(
            lines[0],
            (
                CheckOutcome::Good,
                "permissions in the token: Chat.Read.All; also there and not needed by this configuration: Mail.Send"
                    .into()
            )
        );
        assert_eq!(lines[1].0, CheckOutcome::Bad);
        assert!(
            lines[1].1.starts_with("permission Calls.JoinGroupCall.All: not in the token: group calls"),
            "{}",
            lines[1].1
        );
        assert_eq!(lines.len(), 2);
        assert!(judged(&config(""), &[]).iter().all(|line| line.0 == CheckOutcome::Bad));
    }

    #[test]
    fn other_permissions_that_do_the_same_will_do_and_half_of_it_is_worth_a_look() {
        let lines = judged(&config(""), &["calls.joingroupcalls.all", "Chat.ReadWrite.All"]);
        assert_eq!(lines.iter().map(|line| line.0).collect::<Vec<_>>(), [CheckOutcome::Good]);
        let lines = judged(&config(""), &["Calls.JoinGroupCall.All", "Chat.Read.WhereInstalled"]);
        assert_eq!(lines[1].0, CheckOutcome::Warning);
        let wide = config("chat_scopes = [\"/chats/getAllMessages\"]");
        assert_eq!(judged(&wide, &["Calls.JoinGroupCall.All", "Chat.Read.WhereInstalled"])[1].0, CheckOutcome::Bad);
    }
}
