//! From the identities on the wire to the contract's participant ids.
//!
//! `<oid>@<tid>` in lower case for people of a directory, `tel:+…` for telephones, else `<identity member>:<id>`
//! (INTERFACES §7). `identitySet` declares user, application and device only, but the wire has more (digest §6); the first
//! member that is not null is the principal.

use serde_json::{Map, Value};

use crate::model::Person;

/// Members of an identity set that are looked for first, in this order; others follow in the order of their names.
const KNOWN: &[&str] = &[
    "user",
    "phone",
    "guest",
    "applicationInstance",
    "application",
    "azureCommunicationServicesUser",
    "onPremises",
    "assertedIdentity",
    "encrypted",
    "device",
    "conversation",
    "tag",
];

/// A principal: who it is, and what kind of identity said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Contract id and display name.
    pub person: Person,
    /// Member of the identity set as on the wire, for example `user`, `phone`, `applicationInstance`.
    pub member: String,
    /// Its id as received.
    pub id: String,
    /// Its tenant, as received.
    pub tenant: Option<String>,
}

impl Principal {
    /// Whether it is a program rather than a human being.
    pub fn is_bot(&self) -> bool {
        let member = self.member.to_ascii_lowercase();
        member == "application" || member == "applicationinstance"
    }
}

/// The principal of an identity set; `tenant` is where a user without `tenantId` counts to. `None` if nobody is named.
pub fn principal(set: &Value, tenant: &str) -> Option<Principal> {
    let set = set.as_object()?;
    let known = KNOWN.iter().filter_map(|wanted| set.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)));
    let others =
        set.iter().filter(|(name, _)| !name.starts_with('@') && !KNOWN.iter().any(|k| name.eq_ignore_ascii_case(k)));
    known.chain(others).find_map(|(member, identity)| of_member(member, identity.as_object()?, tenant))
}

/// The principal that one member of an identity set names.
pub fn of_member(member: &str, identity: &Map<String, Value>, tenant: &str) -> Option<Principal> {
    let id = text(identity, "id").filter(|id| !id.trim().is_empty())?;
    let told = text(identity, "tenantId").filter(|tenant| !tenant.is_empty());
    let name = text(identity, "displayName").filter(|name| !name.is_empty()).map(str::to_owned);
    let person = Person { id: contract_id(member, id, told.unwrap_or(tenant)), name };
    Some(Principal { person, member: member.to_owned(), id: id.to_owned(), tenant: told.map(str::to_owned) })
}

/// The contract's id of an identity.
pub fn contract_id(member: &str, id: &str, tenant: &str) -> String {
    let id = id.trim();
    let lower = member.to_ascii_lowercase();
    // MRIs: `8:orgid:<oid>` is a user, `4:+49…` a telephone, `28:<app>` a bot.
    if let Some(oid) = id.strip_prefix("8:orgid:") {
        return user(oid, tenant);
    }
    if let Some(number) = id.strip_prefix("4:").or_else(|| id.strip_prefix("tel:")) {
        return telephone(number);
    }
    match lower.as_str() {
        "phone" => telephone(id),
        "user" if is_guid(id) => user(id, tenant),
        // One spelling, whatever the case on the wire: decrypted meeting events write PascalCase.
        _ => format!("{}:{id}", KNOWN.iter().find(|known| known.eq_ignore_ascii_case(member)).unwrap_or(&member)),
    }
}

/// `<oid>@<tid>`, lower case.
pub fn user(oid: &str, tenant: &str) -> String {
    format!("{}@{}", oid.trim().to_lowercase(), tenant.trim().to_lowercase())
}

fn telephone(number: &str) -> String {
    let number: String = number.chars().filter(|c| !c.is_whitespace()).collect();
    format!("tel:{number}")
}

/// Whether a text is a GUID with or without dashes; anonymous ids are 32 hex digits without, and are told by their kind.
pub fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text
            .bytes()
            .enumerate()
            .all(|(i, b)| if matches!(i, 8 | 13 | 18 | 23) { b == b'-' } else { b.is_ascii_hexdigit() })
}

fn text<'v>(object: &'v Map<String, Value>, key: &str) -> Option<&'v str> {
    object.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).and_then(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TENANT: &str = "932899F8-2ea1-4604-8413-27bd2892079f";
    const OID: &str = "8A34A46B-3D17-4ADC-8DCE-DC4E7D572698";

    fn id_of(set: Value) -> Option<String> {
        principal(&set, TENANT).map(|p| p.person.id)
    }

    #[test]
    fn identities_become_contract_ids() {
        let alice = "8a34a46b-3d17-4adc-8dce-dc4e7d572698@932899f8-2ea1-4604-8413-27bd2892079f";
        assert_eq!(id_of(json!({"user": {"id": OID}})).as_deref(), Some(alice));
        assert_eq!(
            id_of(json!({"application": null, "user": {"id": OID, "tenantId": "T"}})).as_deref(),
            Some("8a34a46b-3d17-4adc-8dce-dc4e7d572698@t")
        );
        assert_eq!(id_of(json!({"User": {"Id": OID}})).as_deref(), Some(alice));
        assert_eq!(id_of(json!({"phone": {"id": "+49 30 1"}})).as_deref(), Some("tel:+49301"));
        assert_eq!(id_of(json!({"guest": {"id": "g1"}})).as_deref(), Some("guest:g1"));
        assert_eq!(
            id_of(json!({"user": {"id": "0123456789abcdef0123456789abcdef"}})).as_deref(),
            Some("user:0123456789abcdef0123456789abcdef")
        );
        assert_eq!(id_of(json!({"@odata.type": "x", "hologram": {"id": "h"}})).as_deref(), Some("hologram:h"));
        assert_eq!(
            id_of(json!({"user": {"id": "8:orgid:8a34a46b-3d17-4adc-8dce-dc4e7d572698"}})).as_deref(),
            Some(alice)
        );
        for nobody in [json!(null), json!({}), json!({"user": null}), json!({"user": {"id": ""}}), json!([1])] {
            assert_eq!(id_of(nobody), None);
        }
    }
}
