//! The people of a scenario.

use super::super::scenario::reader::{Reader, ScenarioError};
use super::tenant::guid;

/// What somebody is to the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Has an account in the tenant.
    User,
    /// Has an account in another tenant.
    External,
    /// Came without an account.
    Guest,
    /// A telephone.
    Phone,
    /// Another application.
    Application,
}

impl Kind {
    /// Member of an identity set in calls.
    pub(super) fn call_member(self) -> &'static str {
        match self {
            Kind::User | Kind::External => "user",
            Kind::Guest => "guest",
            Kind::Phone => "phone",
            Kind::Application => "application",
        }
    }

    /// `userIdentityType` in chats.
    pub(super) fn chat_type(self) -> &'static str {
        match self {
            Kind::User => "aadUser",
            Kind::External => "federatedUser",
            Kind::Guest => "anonymousGuest",
            Kind::Phone => "phoneUser",
            Kind::Application => "bot",
        }
    }
}

/// Somebody in the cast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Short name by which steps call the person.
    pub id: String,
    /// Display name; may be empty.
    pub name: String,
    /// What they are.
    pub kind: Kind,
    /// Object id; of a telephone its number, of a guest some text.
    pub oid: String,
    /// Tenant of the account; empty for those without one.
    pub tenant: String,
}

impl Member {
    pub(super) fn read(reader: &Reader<'_>, own_tenant: &str) -> Result<Self, ScenarioError> {
        let id = reader.text("id")?;
        let kind = match reader.word("kind", &["user", "external", "guest", "phone", "application"], "user")? {
            "external" => Kind::External,
            "guest" => Kind::Guest,
            "phone" => Kind::Phone,
            "application" => Kind::Application,
            _ => Kind::User,
        };
        let tenant = reader.opt_text("tenant")?.unwrap_or_else(|| match kind {
            Kind::User => own_tenant.to_owned(),
            Kind::External => invented("external tenant"),
            _ => String::new(),
        });
        let oid = reader.opt_text("oid")?.unwrap_or_else(|| match kind {
            Kind::Guest => invented(&id).replace('-', ""),
            Kind::Phone => "+4930123456".to_owned(),
            _ => invented(&id),
        });
        let member = Member { name: reader.opt_text("name")?.unwrap_or_default(), id, kind, oid, tenant };
        reader.finish()?;
        Ok(member)
    }
}

/// The same GUID for the same text, so that people keep their identity from run to run.
pub(super) fn invented(text: &str) -> String {
    let hash = |seed: u64| {
        text.bytes().fold(seed, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)) ^ seed.rotate_left(17)
    };
    guid(u128::from(hash(0xcbf2_9ce4_8422_2325)) << 64 | u128::from(hash(0x9e37_79b9_7f4a_7c15)))
}
