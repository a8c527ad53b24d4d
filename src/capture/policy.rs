//! Who may invite the recorder: `accept_from` as a pure function from an address to a decision with its reason.
//!
//! Addresses are compared byte for byte after lower-casing ASCII only. Unicode case folding or normalisation would let
//! look-alikes in (the Kelvin sign folds to `k`), so it is not done; a pattern with an international domain also matches
//! that domain's ASCII (`xn--`) form.

use std::fmt;

/// The compiled list of patterns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptFrom {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    written: String,
    user: User,
    domain: Domain,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum User {
    Any,
    Exactly(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Domain {
    Any,
    /// One of these spellings.
    Exactly(Vec<String>),
    /// Anything below: each begins with a dot.
    Below(Vec<String>),
}

/// What to do with an invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Take it.
    Accept {
        /// The pattern that admitted it, as written in the configuration.
        rule: String,
    },
    /// Refuse it.
    Decline {
        /// Why, for the event and the log.
        reason: String,
    },
}

/// A pattern that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct PatternError {
    /// As written.
    pub pattern: String,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pattern = self.pattern.escape_debug();
        write!(
            f,
            "`{pattern}` is not a pattern; write alice@contoso.com, *@contoso.com, *@*.contoso.com, or * for everybody"
        )
    }
}

impl AcceptFrom {
    /// Compiles patterns: `alice@contoso.com`, `*@contoso.com`, `*@*.contoso.com` (hosts below, not contoso.com itself),
    /// `*`; each with or without `sip:`. An empty list admits nobody.
    ///
    /// # Errors
    /// [`PatternError`] for the first pattern that is none of these.
    pub fn parse(patterns: &[String]) -> Result<AcceptFrom, PatternError> {
        let rules =
            patterns.iter().map(|pattern| parse_rule(pattern).ok_or_else(|| PatternError { pattern: pattern.clone() }));
        Ok(AcceptFrom { rules: rules.collect::<Result<_, _>>()? })
    }

    /// Decides about an invitation from `inviter`, a `sip:` URI in any case; empty = the platform did not say who.
    pub fn decide(&self, inviter: &str) -> Decision {
        let address = without_scheme(inviter.trim()).to_ascii_lowercase();
        if address.is_empty() {
            return Decision::Decline { reason: "the invitation does not say who sent it".to_owned() };
        }
        let parts = split(&address);
        match self.rules.iter().find(|rule| rule.admits(parts)) {
            Some(rule) => Decision::Accept { rule: rule.written.clone() },
            None => Decision::Decline { reason: format!("no pattern in accept_from admits {}", inviter.trim()) },
        }
    }
}

impl Rule {
    /// `parts` is `None` for an address that is not `user@host` (a telephone number, or something malformed).
    fn admits(&self, parts: Option<(&str, &str)>) -> bool {
        let Some((user, host)) = parts else {
            return self.user == User::Any && self.domain == Domain::Any;
        };
        let user_fits = match &self.user {
            User::Any => true,
            User::Exactly(name) => name == user,
        };
        let host_fits = match &self.domain {
            Domain::Any => true,
            Domain::Exactly(spellings) => spellings.iter().any(|one| one == host),
            Domain::Below(suffixes) => {
                suffixes.iter().any(|suffix| host.strip_suffix(suffix.as_str()).is_some_and(|rest| !rest.is_empty()))
            }
        };
        user_fits && host_fits
    }
}

fn without_scheme(text: &str) -> &str {
    match text.get(..4) {
        Some(scheme) if scheme.eq_ignore_ascii_case("sip:") => &text[4..],
        _ => match text.get(..5) {
            Some(scheme) if scheme.eq_ignore_ascii_case("sips:") => &text[5..],
            _ => text,
        },
    }
}

/// User and host of an address, without port and URI parameters. More than one `@` is nobody's address.
fn split(address: &str) -> Option<(&str, &str)> {
    let (user, rest) = address.split_once('@')?;
    let host = rest.split([';', '?', ':']).next().unwrap_or("");
    let good = !user.is_empty() && !host.is_empty() && !rest.contains('@');
    good.then_some((user, host.strip_suffix('.').unwrap_or(host)))
}

fn parse_rule(pattern: &str) -> Option<Rule> {
    let written = pattern.to_owned();
    let text = without_scheme(pattern.trim()).to_ascii_lowercase();
    if text == "*" {
        return Some(Rule { written, user: User::Any, domain: Domain::Any });
    }
    let (user, domain) = text.split_once('@')?;
    let user = match user {
        "*" => User::Any,
        _ if user.is_empty() || user.contains('*') || user.chars().any(char::is_whitespace) => return None,
        _ => User::Exactly(user.to_owned()),
    };
    let domain = match domain.strip_prefix("*.") {
        _ if domain == "*" => Domain::Any,
        Some(suffix) => Domain::Below(spellings(suffix)?.iter().map(|one| format!(".{one}")).collect()),
        None => Domain::Exactly(spellings(domain)?),
    };
    Some(Rule { written, user, domain })
}

/// The host as written and in its ASCII form.
fn spellings(host: &str) -> Option<Vec<String>> {
    if host.contains(['*', '@', ':', '/', ';', '?', '%', '[', ' ']) {
        return None;
    }
    let ascii = match url::Host::parse(host).ok()? {
        url::Host::Domain(name) => name,
        url::Host::Ipv4(ip) => ip.to_string(),
        url::Host::Ipv6(_) => return None,
    };
    let mut spellings = vec![host.to_owned()];
    if ascii != host {
        spellings.push(ascii);
    }
    Some(spellings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(pattern: &str, inviter: &str) -> bool {
        let list = AcceptFrom::parse(&[pattern.to_owned()]).expect("pattern");
        matches!(list.decide(inviter), Decision::Accept { rule } if rule == pattern)
    }

    #[test]
    fn patterns_admit_exactly_whom_they_name() {
        let cases: &[(&str, &str, bool)] = &[
            ("*@contoso.com", "sip:alice@contoso.com", true),
            ("*@contoso.com", "SIP:Alice@Contoso.COM", true),
            ("sip:*@contoso.com", "alice@contoso.com", true),
            ("*@contoso.com", "sip:alice@contoso.com;gruu;opaque=app:conf", true),
            ("*@contoso.com", "sip:alice@contoso.com:5061", true),
            ("*@contoso.com", "sip:alice@contoso.com.", true),
            ("*@contoso.com", "sip:alice@eu.contoso.com", false),
            ("*@contoso.com", "sip:alice@evilcontoso.com", false),
            ("*@contoso.com", "sip:alice@contoso.com.evil.example", false),
            ("*@contoso.com", "sip:alice@evil.example@contoso.com", false),
            ("*@contoso.com", "sip:mallory@evil.example;x=@contoso.com", false),
            ("*@contoso.com", "sip:mallory@evil.example?h=@contoso.com", false),
            ("*@contoso.com", "sip:@contoso.com", false),
            ("*@contoso.com", "sip:contoso.com", false),
            ("*@contoso.com", "tel:+4930123456", false),
            ("alice@contoso.com", "sip:alice@contoso.com", true),
            ("Alice@Contoso.com", "sip:alice@contoso.com", true),
            ("alice@contoso.com", "sip:malice@contoso.com", false),
            ("alice@contoso.com", "sip:alice@fabrikam.com", false),
            ("alice@*", "sip:alice@fabrikam.com", true),
            ("*@*.contoso.com", "sip:alice@eu.contoso.com", true),
            ("*@*.contoso.com", "sip:alice@a.b.contoso.com", true),
            ("*@*.contoso.com", "sip:alice@contoso.com", false),
            ("*@*.contoso.com", "sip:alice@.contoso.com", false),
            ("*@*.contoso.com", "sip:alice@evilcontoso.com", false),
            ("*", "sip:anyone@anywhere.example", true),
            ("*", "tel:+4930123456", true),
            ("*@*", "sip:anyone@anywhere.example", true),
        ];
        for (pattern, inviter, expected) in cases {
            assert_eq!(accepts(pattern, inviter), *expected, "{pattern} and {inviter}");
        }
    }

    #[test]
    fn look_alikes_are_strangers() {
        for inviter in [
            "sip:alice@c\u{43e}ntoso.com",  // Cyrillic o
            "sip:alice@\u{ff43}ontoso.com", // fullwidth c
            "sip:alice@contoso\u{3002}com", // ideographic full stop
            "sip:alice@contoso.com\u{200b}",
            "sip:alice@xn--cntoso-uof.com",
        ] {
            assert!(!accepts("*@contoso.com", inviter), "{inviter}");
        }
        assert!(!accepts("mike@kontoso.com", "sip:mike@\u{212a}ontoso.com"), "Kelvin sign");
        assert!(!accepts("mike@kontoso.com", "sip:mi\u{212a}e@kontoso.com"), "Kelvin sign in the name");
    }

    #[test]
    fn an_international_domain_matches_in_both_spellings() {
        assert!(accepts("*@müller.example", "sip:eva@müller.example"));
        assert!(accepts("*@müller.example", "sip:eva@xn--mller-kva.example"));
        assert!(!accepts("*@müller.example", "sip:eva@muller.example"));
    }

    #[test]
    fn nobody_is_declined_even_when_everybody_may_invite() {
        let everybody = AcceptFrom::parse(&["*".to_owned()]).expect("pattern");
        for inviter in ["", "  ", "sip:"] {
            let reason = "the invitation does not say who sent it".to_owned();
            assert_eq!(everybody.decide(inviter), Decision::Decline { reason });
        }
    }

    #[test]
    fn a_refusal_says_who_and_why() {
        let nobody = AcceptFrom::parse(&[]).expect("empty list");
        let reason = "no pattern in accept_from admits sip:eve@evil.example".to_owned();
        assert_eq!(nobody.decide("sip:eve@evil.example"), Decision::Decline { reason });
    }

    #[test]
    fn what_is_not_a_pattern_is_refused() {
        for pattern in
            ["", "contoso.com", "@contoso.com", "alice@", "al*@contoso.com", "*@*contoso.com", "*@a b.com", "a@b@c"]
        {
            let error = AcceptFrom::parse(&[pattern.to_owned()]).expect_err(pattern);
            assert!(error.to_string().contains("*@contoso.com"), "{error}");
        }
    }
}
