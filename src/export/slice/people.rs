//! Addresses of people as mail and review platforms want them.

use sha2::{Digest, Sha256};

use crate::harmless::one_line;
use crate::integrity::hex;
use crate::model::Person;

/// The mail address that an address of a platform contains: `sip:a@b.org` has `a@b.org`. `None` where it has none.
pub fn mail_of(id: &str) -> Option<&str> {
    let address = ["sip:", "sips:", "mailto:", "im:"].iter().find_map(|scheme| id.strip_prefix(scheme)).unwrap_or(id);
    let (local, domain) = address.split_once('@')?;
    let atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    let dotted =
        |text: &str| text.len() <= 64 && text.split('.').all(|part| !part.is_empty() && part.chars().all(atom));
    let label = |part: &str| {
        let inside = part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        !part.is_empty() && part.len() <= 63 && inside && !part.starts_with('-') && !part.ends_with('-')
    };
    let good = dotted(local) && domain.len() <= 190 && domain.contains('.') && domain.split('.').all(label);
    good.then_some(address)
}

/// Name and mail address for a header. Who has no mail address gets one below `participant.invalid`, a name that can
/// never be delivered to: the readable part of the platform's address, and a hash that keeps people apart.
pub fn mailbox(person: &Person) -> (String, String) {
    let name = short(&one_line(super::called(person)), 100);
    let address = mail_of(&person.id).map_or_else(
        || {
            let kept: String = person.id.chars().filter(char::is_ascii_alphanumeric).take(24).collect();
            let hash = hex(&Sha256::digest(person.id.as_bytes())[..6]);
            let dash = if kept.is_empty() { "" } else { "-" };
            format!("{kept}{dash}{hash}@participant.invalid")
        },
        str::to_owned,
    );
    (name, address)
}

/// At most `most` characters, the last of them `…` if something was cut.
pub fn short(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Names for a header or a column, `between` them, of at most `most` characters in all; says how many are left out.
pub fn listed<'p>(people: impl Iterator<Item = &'p Person>, between: &str, most: usize) -> String {
    let mut text = String::new();
    let mut length = 0;
    let mut left = 0;
    for person in people {
        let name = one_line(super::called(person));
        let longer = name.chars().count() + between.len();
        if left > 0 || (length + longer + 16 > most) {
            left += 1;
            continue;
        }
        if !text.is_empty() {
            text.push_str(between);
        }
        text.push_str(&name);
        length += longer;
    }
    match (left, text.is_empty()) {
        (0, _) => text,
        (n, true) => format!("{n} people"),
        (n, false) => format!("{text}{between}and {n} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(id: &str, name: Option<&str>) -> Person {
        Person { id: id.into(), name: name.map(str::to_owned) }
    }

    #[test]
    fn mail_addresses_are_found_and_never_made_of_other_things() {
        assert_eq!(mail_of("sip:alice.b@contoso.com"), Some("alice.b@contoso.com"));
        assert_eq!(mail_of("a@b.org"), Some("a@b.org"));
        for bad in [
            "8:orgid:1",
            "a@b",
            "sip:a b@c.org",
            "a@b.org\r\nBcc: x@y.org",
            "a@@b.org",
            "a..b@c.org",
            "ä@b.org",
            "a@-b.org",
        ] {
            assert_eq!(mail_of(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn everybody_gets_an_address_of_their_own() {
        assert_eq!(
            mailbox(&person("sip:a@b.org", Some("A\r\nBcc: x"))),
            ("A<U+000D><U+000A>Bcc: x".into(), "a@b.org".into())
        );
        let (_, one) = mailbox(&person("8:orgid:11-22", None));
        let (_, two) = mailbox(&person("8:orgid:1122", None));
        assert!(one.starts_with("8orgid1122-") && one.ends_with("@participant.invalid"), "{one}");
        assert_ne!(one, two);
        assert!(mail_of(&mailbox(&person("", None)).1).is_some());
    }

    #[test]
    fn long_lists_say_how_many_are_left_out() {
        let people: Vec<Person> = (0..100).map(|n| person(&format!("p{n}"), Some("Somebody with a name"))).collect();
        let text = listed(people.iter(), ", ", 250);
        assert!(text.chars().count() <= 250 && text.ends_with(" more"), "{text}");
        assert_eq!(listed(people[..2].iter(), ";", 250), "Somebody with a name;Somebody with a name");
    }
}
