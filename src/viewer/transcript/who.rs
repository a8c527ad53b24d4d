//! A person beside what they said: name, address, and a colour to find them again.

use crate::harmless;
use crate::model::Person;
use crate::viewer::{links, words};

/// Number of colours; classes `hue-0` … of the style sheet.
const HUES: u8 = 10;

/// Somebody, as a page shows them. The address is always there: names are chosen by whoever bears them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// Name as told, or the address; harmless.
    pub name: String,
    /// Address without its scheme; empty if it is the name already.
    pub address: String,
    /// Page of the person.
    pub href: String,
    /// One or two letters.
    pub initials: String,
    /// Which colour: the same for the same address everywhere.
    pub hue: u8,
}

impl Who {
    /// A person of an event.
    pub fn new(person: &Person) -> Who {
        let name = words::name(person);
        let address = harmless::one_line(words::address(&person.id));
        let hash = person.id.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
        Who {
            initials: initials(&name),
            address: if address == name { String::new() } else { address },
            href: links::person(&person.id),
            hue: u8::try_from((hash ^ (hash >> 16)) % u32::from(HUES)).unwrap_or_default(),
            name,
        }
    }

    /// Whoever did something that nobody is named for.
    pub fn somebody() -> Who {
        Who { name: "Somebody".into(), initials: "?".into(), ..Who::default() }
    }

    /// The named person, or somebody.
    pub fn of(person: Option<&Person>) -> Who {
        person.map_or_else(Who::somebody, Who::new)
    }
}

/// First letters of the first and last word that have one.
fn initials(name: &str) -> String {
    let first = |word: &str| word.chars().find(|c| c.is_alphanumeric());
    let name = name.split('@').next().unwrap_or_default();
    let mut letters = name.split([' ', '.', '-', '_', '\u{a0}']).filter_map(first);
    let start = letters.next();
    let end = letters.next_back();
    let shown: String = start.into_iter().chain(end).flat_map(char::to_uppercase).take(2).collect();
    if shown.is_empty() { "?".into() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_told_with_an_address_and_keeps_the_colour() {
        let who = |id: &str, name: Option<&str>| Who::new(&Person { id: id.into(), name: name.map(str::to_owned) });
        let alice = who("sip:alice@contoso.com", Some("Alice van Dyk"));
        assert_eq!((alice.address.as_str(), alice.initials.as_str()), ("alice@contoso.com", "AD"));
        assert_eq!(alice.hue, who("sip:alice@contoso.com", None).hue);
        assert_eq!(who("sip:bob.lee@contoso.com", None).initials, "BL");
        assert_eq!((who("sip:x@y", None).name.as_str(), who("sip:x@y", None).address.as_str()), ("x@y", ""));
        assert_eq!(who("sip:y@z", Some("田中太郎")).initials, "田");
        assert_eq!(who("sip:y@z", Some("🦀")).initials, "?");
    }
}
