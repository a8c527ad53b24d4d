//! Who speaks in chats: the identities of messages, which say by `userIdentityType` whether an id is one of a directory.

use serde_json::{Map, Value};

use crate::connector::teams::identity::{self, Principal};
use crate::connector::teams::look::{list, text};
use crate::model::Person;

/// Kinds of users whose id is none of a directory, whatever it looks like.
const OUTSIDE: &[&str] = &[
    "anonymousGuest",
    "personalMicrosoftAccountUser",
    "skypeUser",
    "phoneUser",
    "emailUser",
    "azureCommunicationServicesUser",
];

/// The principal of an identity set as chats write it; `None` if nobody is named.
pub fn of_set(set: &Value, tenant: &str) -> Option<Principal> {
    let principal = identity::principal(set, tenant)?;
    let own = set.as_object()?.iter().find(|(name, _)| **name == principal.member)?.1;
    Some(Principal { person: corrected(own, principal.person), ..principal })
}

/// A bare identity (`teamworkUserIdentity`), or an identity set in its place.
pub fn of_user(user: &Value, tenant: &str) -> Option<Person> {
    let Some(id) = text(user, "id") else { return of_set(user, tenant).map(|principal| principal.person) };
    let mut map = Map::new();
    map.insert("id".into(), id.into());
    for key in ["displayName", "tenantId"] {
        if let Some(told) = text(user, key) {
            map.insert(key.into(), told.into());
        }
    }
    let person = identity::of_member("user", &map, tenant)?.person;
    Some(corrected(user, person))
}

/// Everyone of a list of identities, in its order.
pub fn of_list(value: &Value, key: &str, tenant: &str) -> Vec<Person> {
    list(value, key).iter().filter_map(|user| of_user(user, tenant)).collect()
}

fn corrected(identity: &Value, person: Person) -> Person {
    let name = person.name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    let outside =
        text(identity, "userIdentityType").filter(|told| OUTSIDE.iter().any(|o| o.eq_ignore_ascii_case(told)));
    let (Some(told), Some(id)) = (outside, text(identity, "id").map(str::trim)) else {
        return Person { name, ..person };
    };
    if told.eq_ignore_ascii_case("phoneUser") && id.starts_with('+') {
        return Person { id: identity::contract_id("phone", id, ""), name };
    }
    if identity::is_guid(id) { Person { id: format!("user:{id}"), name } } else { Person { name, ..person } }
}

/// How a person is called in a sentence: by name, else by the id without its tenant.
pub fn called(person: &Person) -> &str {
    let id = || person.id.split_once('@').map_or(person.id.as_str(), |(own, _)| own);
    person.name.as_deref().unwrap_or_else(id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn guests_are_not_taken_for_people_of_the_directory() {
        let guid = "8ea0e38b-efb3-4757-924a-5f94061cf8c2";
        let of = |kind: &str| of_user(&json!({"id": guid, "displayName": "X ", "userIdentityType": kind}), "T");
        assert_eq!(of("aadUser").map(|p| p.id), Some(format!("{guid}@t")));
        let guest = of("anonymousGuest").expect("somebody");
        assert_eq!((guest.id, guest.name.as_deref()), (format!("user:{guid}"), Some("X")));
        let phone = of_set(&json!({"user": {"id": "+49 30", "userIdentityType": "phoneUser"}}), "t").expect("somebody");
        assert_eq!(phone.person.id, "tel:+4930");
        let app = of_set(&json!({"user": null, "application": {"id": "a1"}}), "t").expect("something");
        assert_eq!((app.person.id.as_str(), app.is_bot()), ("application:a1", true));
    }
}
