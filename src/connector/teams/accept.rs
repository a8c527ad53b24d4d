//! Who may invite the recorder: the patterns of `accept_from` (INTERFACES §4), for calls and for bot installs.

use super::identity::{Principal, is_guid};

/// One pattern, as configured and as understood.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    written: String,
    who: Who,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    Anyone,
    Tenant(String),
    User(String),
    UserOf(String, String),
    /// Digits after `tel:`; whether more may follow.
    Telephone(String, bool),
}

/// The list of those who may invite. An empty list lets nobody in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcceptFrom(Vec<Pattern>);

/// A pattern that cannot be understood; says which and what is right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "accept_from: \"{pattern}\" {trouble}; write \"<object id>\", \"<object id>@<tenant id>\", \"*@<tenant id>\", \
     \"tel:+49*\" or \"*\", ids as GUIDs such as 8a34a46b-3d17-4adc-8dce-dc4e7d572698"
)]
pub struct PatternError {
    /// As configured.
    pub pattern: String,
    /// What is wrong with it, in one fragment.
    pub trouble: &'static str,
}

impl AcceptFrom {
    /// Everyone of this tenant: the default.
    pub fn everyone_of(tenant: &str) -> AcceptFrom {
        let tenant = tenant.trim().to_lowercase();
        AcceptFrom(vec![Pattern { written: format!("*@{tenant}"), who: Who::Tenant(tenant) }])
    }

    /// Reads the patterns.
    ///
    /// # Errors
    /// [`PatternError`] for the first that is none.
    pub fn parse<S: AsRef<str>>(patterns: &[S]) -> Result<AcceptFrom, PatternError> {
        patterns
            .iter()
            .map(|pattern| {
                let written = pattern.as_ref().to_owned();
                match who(&written) {
                    Ok(who) => Ok(Pattern { written, who }),
                    Err(trouble) => Err(PatternError { pattern: written, trouble }),
                }
            })
            .collect::<Result<_, _>>()
            .map(AcceptFrom)
    }

    /// The pattern, as configured, that lets this caller in. `tenant` is where a caller counts to who tells no tenant:
    /// the call's, else the token's. An unnamed caller counts there too.
    pub fn allows(&self, caller: Option<&Principal>, tenant: &str) -> Option<&str> {
        let tenant = caller.and_then(|caller| caller.tenant.as_deref()).unwrap_or(tenant).trim().to_lowercase();
        let id = caller.map(|caller| caller.person.id.as_str()).unwrap_or_default();
        let user = id.split_once('@').map(|(oid, _)| oid).filter(|oid| is_guid(oid));
        let found = self.0.iter().find(|pattern| match &pattern.who {
            Who::Anyone => true,
            Who::Tenant(wanted) => *wanted == tenant,
            Who::User(wanted) => user == Some(wanted.as_str()) || is_bare(caller, wanted),
            Who::UserOf(wanted, home) => *home == tenant && (user == Some(wanted.as_str()) || is_bare(caller, wanted)),
            Who::Telephone(digits, more) => match id.strip_prefix("tel:") {
                Some(number) if *more => number.starts_with(digits.as_str()),
                Some(number) => number == digits,
                None => false,
            },
        });
        found.map(|pattern| pattern.written.as_str())
    }
}

/// Whether the identity is not a person of a directory but has this id: an application instance, say.
fn is_bare(caller: Option<&Principal>, wanted: &str) -> bool {
    caller.is_some_and(|caller| !caller.member.eq_ignore_ascii_case("user") && caller.id.eq_ignore_ascii_case(wanted))
}

fn who(pattern: &str) -> Result<Who, &'static str> {
    let pattern = pattern.trim();
    let guid = |text: &str| is_guid(text).then(|| text.to_lowercase());
    if pattern == "*" {
        return Ok(Who::Anyone);
    }
    if let Some(number) = pattern.strip_prefix("tel:") {
        let (digits, more) = number.strip_suffix('*').map_or((number, false), |digits| (digits, true));
        let digits: String = digits.chars().filter(|c| !c.is_whitespace()).collect();
        let good = digits.strip_prefix('+').unwrap_or(&digits).bytes().all(|b| b.is_ascii_digit());
        return match (good, more || digits.len() > 1) {
            (true, true) => Ok(Who::Telephone(digits, more)),
            (false, _) => Err("has more than + and digits in its number"),
            (true, false) => Err("has no number"),
        };
    }
    match pattern.split_once('@') {
        Some(("*", tenant)) => guid(tenant).map(Who::Tenant).ok_or("has a tenant that is not an id"),
        Some((user, tenant)) => match (guid(user), guid(tenant)) {
            (Some(user), Some(tenant)) => Ok(Who::UserOf(user, tenant)),
            (None, _) => Err("has a user that is not an object id"),
            (_, None) => Err("has a tenant that is not an id"),
        },
        None => guid(pattern).map(Who::User).ok_or("is not an object id"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_pattern_is_named_together_with_the_right_form() {
        for bad in ["", "alice", "alice@contoso.com", "*@contoso.com", "tel:", "tel:+", "tel:+49x", "sip:a@b"] {
            let error = AcceptFrom::parse(&[bad]).expect_err(bad).to_string();
            assert!(error.contains(&format!("\"{bad}\"")) && error.contains("*@<tenant id>"), "{error}");
        }
    }

    #[test]
    fn patterns_are_read_without_regard_to_case() {
        let upper = "*@932899F8-2EA1-4604-8413-27BD2892079F";
        let list = AcceptFrom::parse(&[upper]).expect("a pattern");
        assert_eq!(list.allows(None, "932899f8-2ea1-4604-8413-27bd2892079f"), Some(upper));
        assert_eq!(list.allows(None, "another"), None);
        assert_eq!(AcceptFrom::default().allows(None, "932899f8-2ea1-4604-8413-27bd2892079f"), None);
    }
}
