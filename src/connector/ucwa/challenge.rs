//! `WWW-Authenticate` as pools write it: which ways to sign in a 401 offers.
//!
//! Challenges come in one field each or joined by commas; values are quoted (then commas belong to them) or run to the
//! next comma; names come in any order and case. Nothing here can fail: what is not understood is an
//! [`Challenge::Other`].

/// One offer to sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// `MsRtcOAuth`: web tickets from the pool itself.
    MsRtcOauth {
        /// Where to ask for one; absolute or relative to the URL that was refused. Never empty.
        href: String,
        /// Accepted `grant_type`s, as written, in order. May be empty.
        grants: Vec<String>,
    },
    /// `Bearer`: Azure AD or server-to-server tokens, which this recorder does not use.
    Bearer {
        /// Where such tokens come from.
        authorization_uri: Option<String>,
        /// Application that the token must be for.
        client_id: Option<String>,
        /// Who may issue it.
        trusted_issuers: Option<String>,
    },
    /// Any other scheme (`Negotiate`, `NTLM` …) by name, or an `MsRtcOAuth` without address.
    Other(String),
}

/// A scheme and its parameters with lower-case names.
struct Raw {
    scheme: String,
    parameters: Vec<(String, String)>,
}

/// Reads every challenge of every field, in order.
pub fn parse(fields: &[String]) -> Vec<Challenge> {
    fields.iter().flat_map(|field| raw(field)).map(understand).collect()
}

fn understand(raw: Raw) -> Challenge {
    let value = |name: &str| {
        let found = raw.parameters.iter().find(|(n, _)| n == name);
        found.map(|(_, v)| v.trim().to_owned()).filter(|v| !v.is_empty())
    };
    if raw.scheme.eq_ignore_ascii_case("MsRtcOAuth") {
        if let Some(href) = value("href") {
            let list = value("grant_type").unwrap_or_default();
            let grants = list.split(|c: char| c == ',' || c.is_whitespace());
            return Challenge::MsRtcOauth {
                href,
                grants: grants.filter(|grant| !grant.is_empty()).map(str::to_owned).collect(),
            };
        }
    } else if raw.scheme.eq_ignore_ascii_case("Bearer") {
        return Challenge::Bearer {
            authorization_uri: value("authorization_uri"),
            client_id: value("client_id"),
            trusted_issuers: value("trusted_issuers"),
        };
    }
    Challenge::Other(raw.scheme)
}

fn raw(field: &str) -> Vec<Raw> {
    let mut challenges: Vec<Raw> = Vec::new();
    for item in split(field) {
        let (before, value) = match item.split_once('=') {
            Some((before, value)) => (before.trim(), Some(value)),
            None => (item, None),
        };
        let (scheme, name) = match (before.split_once(char::is_whitespace), value) {
            (Some((scheme, name)), _) => (Some(scheme), name.trim()),
            (None, Some(_)) => (None, before),
            (None, None) => (Some(before), ""),
        };
        if let (Some(word), None) = (scheme, value)
            && let Some(grants) = open_grants(&mut challenges)
            && !is_scheme(word)
        {
            // An unquoted list of grants: its commas look like the end of the challenge.
            grants.push(',');
            grants.push_str(item);
            continue;
        }
        if let Some(scheme) = scheme {
            challenges.push(Raw { scheme: scheme.to_owned(), parameters: Vec::new() });
        }
        if let (Some(challenge), Some(value)) = (challenges.last_mut(), value) {
            challenge.parameters.push((name.to_ascii_lowercase(), unquoted(value)));
        }
    }
    challenges
}

/// The `grant_type` just read, if the newest parameter is one of an `MsRtcOAuth`.
fn open_grants(challenges: &mut [Raw]) -> Option<&mut String> {
    let challenge = challenges.last_mut().filter(|c| c.scheme.eq_ignore_ascii_case("MsRtcOAuth"))?;
    challenge.parameters.last_mut().filter(|(name, _)| name == "grant_type").map(|(_, value)| value)
}

fn is_scheme(word: &str) -> bool {
    ["MsRtcOAuth", "Bearer", "Negotiate", "NTLM", "Kerberos", "Basic", "Digest", "TLS-DSK"]
        .iter()
        .any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// Splits at commas outside quotes; blank items are left out.
fn split(field: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let (mut from, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in field.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                items.push(&field[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    items.push(&field[from..]);
    items.into_iter().map(str::trim).filter(|item| !item.is_empty()).collect()
}

fn unquoted(value: &str) -> String {
    let value = value.trim();
    let Some(inner) = value.strip_prefix('"') else { return value.to_owned() };
    let mut out = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => out.extend(characters.next()),
            '"' => break,
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BEARER: &str = r#"Bearer trusted_issuers="", client_id="00000004-0000-0ff1-ce00-000000000000""#;
    const TICKET: &str = r#"MsRtcOAuth href="https://lyncweb.contoso.com/WebTicket/oauthtoken",grant_type="urn:microsoft.rtc:windows,urn:microsoft.rtc:anonmeeting,password""#;

    fn ticket() -> Challenge {
        Challenge::MsRtcOauth {
            href: "https://lyncweb.contoso.com/WebTicket/oauthtoken".into(),
            grants: vec!["urn:microsoft.rtc:windows".into(), "urn:microsoft.rtc:anonmeeting".into(), "password".into()],
        }
    }

    fn bearer() -> Challenge {
        Challenge::Bearer {
            authorization_uri: None,
            client_id: Some("00000004-0000-0ff1-ce00-000000000000".into()),
            trusted_issuers: None,
        }
    }

    fn fields(list: &[&str]) -> Vec<String> {
        list.iter().map(|field| (*field).to_owned()).collect()
    }

    #[test]
    fn separate_or_joined_in_any_order() {
        for (given, expected) in [
            (fields(&[BEARER, TICKET]), vec![bearer(), ticket()]),
            (fields(&[&format!("{BEARER}, {TICKET}")]), vec![bearer(), ticket()]),
            (fields(&[&format!("{TICKET},{BEARER}")]), vec![ticket(), bearer()]),
            (
                fields(&["Negotiate", "NTLM", TICKET]),
                vec![Challenge::Other("Negotiate".into()), Challenge::Other("NTLM".into()), ticket()],
            ),
            (
                fields(&[&format!("NTLM, {TICKET}, Negotiate TlRMTVNT==")]),
                vec![Challenge::Other("NTLM".into()), ticket(), Challenge::Other("Negotiate".into())],
            ),
        ] {
            assert_eq!(parse(&given), expected, "{given:?}");
        }
    }

    #[test]
    fn unquoted_values_case_and_blanks() {
        for field in [
            "MsRtcOAuth href=https://lyncweb.contoso.com/WebTicket/oauthtoken,grant_type=\"urn:microsoft.rtc:windows,urn:microsoft.rtc:anonmeeting,password\"",
            "msrtcoauth  HREF = https://lyncweb.contoso.com/WebTicket/oauthtoken , Grant_Type = \"urn:microsoft.rtc:windows, urn:microsoft.rtc:anonmeeting, password\"",
            "MSRTCOAUTH grant_type=urn:microsoft.rtc:windows,urn:microsoft.rtc:anonmeeting,password,href=https://lyncweb.contoso.com/WebTicket/oauthtoken",
            "MsRtcOAuth grant_type=\"urn:microsoft.rtc:windows,urn:microsoft.rtc:anonmeeting,password\", href=\"https://lyncweb.contoso.com/WebTicket/oauthtoken",
        ] {
            assert_eq!(parse(&fields(&[field])), [ticket()], "{field}");
        }
        let unquoted = "MsRtcOAuth href=/t?a=b, grant_type=password, Bearer client_id=x, NTLM";
        let found = parse(&fields(&[unquoted]));
        assert_eq!(found[0], Challenge::MsRtcOauth { href: "/t?a=b".into(), grants: vec!["password".into()] });
        assert!(matches!(&found[1], Challenge::Bearer { client_id: Some(id), .. } if id == "x"));
        assert_eq!(found[2], Challenge::Other("NTLM".into()));
    }

    #[test]
    fn empty_values_and_nothing() {
        assert_eq!(parse(&[]), []);
        assert_eq!(parse(&fields(&["", " , ,"])), []);
        assert_eq!(parse(&fields(&["MsRtcOAuth href=\"\",grant_type=\"\""])), [Challenge::Other("MsRtcOAuth".into())]);
        assert_eq!(
            parse(&fields(&["MsRtcOAuth href=\"/t\""])),
            [Challenge::MsRtcOauth { href: "/t".into(), grants: vec![] }]
        );
        assert_eq!(
            parse(&fields(&["Bearer authorization_uri=\"https://login.example/common\""])),
            [Challenge::Bearer {
                authorization_uri: Some("https://login.example/common".into()),
                client_id: None,
                trusted_issuers: None
            }]
        );
    }

    proptest! {
        #[test]
        fn never_panics(list in proptest::collection::vec(any::<String>(), 0..4)) {
            parse(&list);
        }

        #[test]
        fn never_panics_near_the_grammar(field in "((MsRtcOAuth|Bearer|NTLM|href|grant_type|=|\"|,|\\\\| |x|é){0,20})") {
            parse(&[field]);
        }

        #[test]
        fn quoted_values_come_back(href in "[!-~]{1,40}", grants in proptest::collection::vec("[a-z:]{1,10}", 0..4)) {
            let quoted = href.replace('\\', "\\\\").replace('"', "\\\"");
            let field = format!("NTLM, MsRtcOAuth grant_type=\"{}\", href=\"{quoted}\", {BEARER}", grants.join(","));
            let found = parse(&[field]);
            prop_assert_eq!(found, [Challenge::Other("NTLM".into()), Challenge::MsRtcOauth { href, grants }, bearer()]);
        }
    }
}
