//! What values of the table must look like: pure functions from a text to its canonical form or a remedy.

use percent_encoding::percent_decode_str;
use url::Url;

use super::super::accept::AcceptFrom;
use super::super::cloud::Cloud;
use crate::config::{Nearest, address, nearest};

/// A GUID in lower case.
pub(super) fn guid(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let whole = parts.len() == 5 && parts.iter().zip([8, 4, 4, 4, 12]).all(|(part, length)| hex(part, length));
    whole.then_some(text)
}

/// `tenant_id`.
pub(super) fn tenant(text: &str) -> Result<String, String> {
    if ["common", "organizations", "consumers"].iter().any(|word| text.trim().eq_ignore_ascii_case(word)) {
        return Err("an application's tokens come from one tenant; write the customer tenant's GUID".to_owned());
    }
    guid(text)
        .ok_or_else(|| "not a GUID; write the Directory (tenant) ID of the app registration's overview page".to_owned())
}

/// `client_id`.
pub(super) fn client(text: &str) -> Result<String, String> {
    guid(text).ok_or_else(|| {
        "not a GUID; write the Application (client) ID of the app registration's overview page".to_owned()
    })
}

/// `cloud`.
pub(super) fn cloud(text: &str) -> Result<Cloud, String> {
    Cloud::parse(text).ok_or_else(|| unknown("cloud", text, Cloud::WORDS))
}

/// Says that a word is none of the known ones.
pub(super) fn unknown(what: &str, text: &str, known: &[&str]) -> String {
    let shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    match nearest(&shown, known) {
        Nearest::Meant(word) => format!("unknown {what} `{shown}`; did you mean `{word}`?"),
        _ => format!("unknown {what} `{shown}`; known: {}", known.join(", ")),
    }
}

/// `callback_url`, without a slash at the end of its path.
pub(super) fn callback(text: &str) -> Result<Url, String> {
    const EXAMPLE: &str = "https://recorder.contoso.com";
    let mut url = address::url(text, EXAMPLE)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("the webhook paths are appended to it: write it without `?` and `#`".to_owned());
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// A pattern of `accept_from`.
pub(super) fn pattern(text: &str) -> Result<(), String> {
    AcceptFrom::parse(&[text]).map(|_| ()).map_err(|error| {
        format!(
            "`{}` {}; write <object id>, <object id>@<tenant id>, *@<tenant id>, tel:+49*, or * for everybody; users and \
             tenants are named by their ids, not by addresses",
            text.escape_debug(),
            error.trouble
        )
    })
}

/// One of `chat_scopes`, in the contract's spelling; identifiers are percent-decoded.
pub(super) fn scope(text: &str) -> Result<String, String> {
    const FORMS: &str = "write /chats/getAllMessages, /users/<object id>/chats/getAllMessages, /chats/<chat id>/messages, \
                         /teams/getAllMessages or /teams/<team id>/channels/<channel id>/messages";
    let shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.contains(['?', '#']) {
        return Err(format!("`{shown}`: write it without a query; `model` is a key of its own"));
    }
    let wrong = || format!("`{shown}` is not a resource that can be followed; {FORMS}");
    let path = text.trim().trim_end_matches('/');
    let path = path.strip_prefix('/').ok_or_else(|| format!("`{shown}` does not begin with `/`; {FORMS}"))?;
    let mut parts = Vec::new();
    for part in path.split('/') {
        parts.push(percent_decode_str(part).decode_utf8().map_err(|_| wrong())?.into_owned());
    }
    let is = |part: &str, word: &str| part.eq_ignore_ascii_case(word);
    let named =
        |what: &str, found: Option<String>| found.ok_or_else(|| format!("`{shown}`: that is no {what}; {FORMS}"));
    match parts.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [chats, all] if is(chats, "chats") && is(all, "getAllMessages") => Ok("/chats/getAllMessages".to_owned()),
        [teams, all] if is(teams, "teams") && is(all, "getAllMessages") => Ok("/teams/getAllMessages".to_owned()),
        [users, user, chats, all] if is(users, "users") && is(chats, "chats") && is(all, "getAllMessages") => {
            Ok(format!("/users/{}/chats/getAllMessages", named("object id of a user (a GUID)", guid(user))?))
        }
        [chats, chat, messages] if is(chats, "chats") && is(messages, "messages") => {
            Ok(format!("/chats/{}/messages", named("chat id (19:…)", thread(chat))?))
        }
        [teams, team, channels, channel, messages]
            if is(teams, "teams") && is(channels, "channels") && is(messages, "messages") =>
        {
            let team = named("team id (a GUID)", guid(team))?;
            Ok(format!("/teams/{team}/channels/{}/messages", named("channel id (19:…)", thread(channel))?))
        }
        _ => Err(wrong()),
    }
}

/// The id of a chat or a channel; its letter case counts.
fn thread(text: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '@' | '.' | '_' | '-' | '=' | '+' | '~' | ';');
    (text.starts_with("19:") && text.len() <= 256 && text.chars().all(fits)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OID: &str = "8B081EF6-4792-4DEF-B2C9-C363A1BF41D5";

    #[test]
    fn a_guid_is_a_guid_and_common_is_none() {
        assert_eq!(guid(OID).as_deref(), Some("8b081ef6-4792-4def-b2c9-c363a1bf41d5"));
        for wrong in
            ["", "8b081ef647924defb2c9c363a1bf41d5", "8b081ef6-4792-4def-b2c9-c363a1bf41dg", "contoso.com", "----"]
        {
            assert_eq!(guid(wrong), None, "{wrong}");
        }
        assert!(tenant("common").unwrap_err().contains("one tenant"));
        assert!(tenant("contoso.onmicrosoft.com").unwrap_err().contains("Directory (tenant) ID"));
    }

    #[test]
    fn the_callback_keeps_its_prefix_and_loses_its_slash() {
        let read = |text: &str| callback(text).map(|url| url.as_str().trim_end_matches('/').to_owned());
        assert_eq!(read("https://Recorder.contoso.com/").as_deref(), Ok("https://recorder.contoso.com"));
        assert_eq!(read("https://a.example/greffier/").as_deref(), Ok("https://a.example/greffier"));
        assert!(read("http://127.0.0.1:1/x").is_ok());
        for wrong in
            ["http://a.example", "https://a.example/?x=1", "https://a.example/#x", "a.example", "https://u:p@a.example"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn patterns_are_people_tenants_numbers_or_everybody() {
        for good in ["*", "tel:+49*", "tel:*", "tel:+4930123", OID, &format!("{OID}@{OID}"), &format!("*@{OID}")] {
            assert_eq!(pattern(good), Ok(()), "{good}");
        }
        for wrong in [
            "",
            "alice@contoso.com",
            "*@contoso.com",
            "tel:",
            "tel:+",
            "tel:+49*1",
            "tel:abc",
            "**",
            &format!("{OID}@"),
            "té",
        ] {
            assert!(pattern(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn scopes_have_five_forms_and_one_spelling() {
        let oid = OID.to_lowercase();
        for (written, canonical) in [
            ("/chats/getAllMessages", "/chats/getAllMessages".to_owned()),
            ("/Chats/getallmessages/", "/chats/getAllMessages".to_owned()),
            ("/teams/getallMessages", "/teams/getAllMessages".to_owned()),
            (&format!("/users/{OID}/chats/getAllMessages"), format!("/users/{oid}/chats/getAllMessages")),
            ("/chats/19%3Ameeting_MjA%40thread.v2/messages", "/chats/19:meeting_MjA@thread.v2/messages".to_owned()),
            ("/chats/19:a_b@unq.gbl.spaces/messages", "/chats/19:a_b@unq.gbl.spaces/messages".to_owned()),
            (
                &format!("/teams/{OID}/channels/19:x@thread.tacv2/messages"),
                format!("/teams/{oid}/channels/19:x@thread.tacv2/messages"),
            ),
        ] {
            assert_eq!(scope(written), Ok(canonical), "{written}");
        }
        for (wrong, why) in [
            ("chats/getAllMessages", "does not begin with"),
            ("/chats/getAllMessages?model=A", "`model` is a key"),
            ("/users/alice@contoso.com/chats/getAllMessages", "object id of a user"),
            ("/chats/19:a%2Fb/messages", "no chat id"),
            ("/chats/../messages", "no chat id"),
            ("/chats/%FF/messages", "not a resource"),
            ("/teams/x/channels/19:x/messages", "no team id"),
            ("/me/messages", "not a resource"),
            ("", "does not begin with"),
        ] {
            assert!(scope(wrong).unwrap_err().contains(why), "{wrong}: {}", scope(wrong).unwrap_err());
        }
    }
}
