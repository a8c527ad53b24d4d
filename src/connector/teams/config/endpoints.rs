//! The endpoint keys: every one optional, its default from the cloud.

use super::super::cloud::Endpoints;
use super::shape;
use crate::config::{Placed, Problems, Section, address};

impl Endpoints {
    /// Reads what the table says instead of the defaults.
    pub(super) fn read(mut self, section: &mut Section<'_>, problems: &mut Problems<'_>) -> Endpoints {
        let mut table = Table { section, problems };
        table.text("login_url", &mut self.login_url, address::base_url);
        table.text("graph_url", &mut self.graph_url, address::base_url);
        table.text("graph_scope", &mut self.graph_scope, word);
        table.text("calls_openid_url", &mut self.calls_openid_url, document);
        table.list("calls_issuers", &mut self.calls_issuers, word, true);
        table.text("notifications_openid_url", &mut self.notifications_openid_url, document);
        table.list("notifications_issuers", &mut self.notifications_issuers, word, true);
        table.text("notifications_publisher", &mut self.notifications_publisher, |text, _| {
            shape::guid(text)
                .ok_or_else(|| "not a GUID; leave it out to expect Microsoft Graph change tracking".to_owned())
        });
        table.text("bot_openid_url", &mut self.bot_openid_url, document);
        table.list("bot_issuers", &mut self.bot_issuers, word, true);
        table.text("bot_tenant", &mut self.bot_tenant, authority);
        table.text("bot_scope", &mut self.bot_scope, word);
        table.list("bot_service_urls", &mut self.bot_service_urls, prefix, false);
        self
    }
}

struct Table<'t, 'a, 'p> {
    section: &'t mut Section<'a>,
    problems: &'t mut Problems<'p>,
}

impl Table<'_, '_, '_> {
    /// `place` holds the default, which is the example of a right value.
    fn text(&mut self, key: &'static str, place: &mut String, shape: fn(&str, &str) -> Result<String, String>) {
        let Some(given) = self.section.string(key, self.problems) else { return };
        if let Some(value) = self.shaped(key, &given, place, shape) {
            *place = value;
        }
    }

    fn list(
        &mut self,
        key: &'static str,
        place: &mut Vec<String>,
        shape: fn(&str, &str) -> Result<String, String>,
        needed: bool,
    ) {
        let Some(given) = self.section.strings(key, self.problems) else { return };
        if given.is_empty() && needed {
            let text = format!(
                "`{key}` of [[connector]] is empty, so that nothing would be accepted; leave it out for the default"
            );
            self.problems.add(Some(self.section.place(key)), text);
        }
        let example = place.first().cloned().unwrap_or_default();
        *place = given.iter().filter_map(|one| self.shaped(key, one, &example, shape)).collect();
    }

    fn shaped(
        &mut self,
        key: &str,
        given: &Placed<String>,
        example: &str,
        shape: fn(&str, &str) -> Result<String, String>,
    ) -> Option<String> {
        let shaped = shape(&given.value, example);
        shaped
            .map_err(|why| self.problems.add(Some(given.span.clone()), format!("`{key}` of [[connector]]: {why}")))
            .ok()
    }
}

/// A scope or an issuer: compared letter by letter, so it is kept as it is.
fn word(text: &str, example: &str) -> Result<String, String> {
    let good = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if good {
        Ok(text.to_owned())
    } else {
        Err(format!("empty, or with blanks in it; write for example \"{example}\""))
    }
}

/// The address of an OpenID document.
fn document(text: &str, example: &str) -> Result<String, String> {
    address::url(text, example).map(|url| url.as_str().to_owned())
}

/// What service URLs may begin with.
fn prefix(text: &str, example: &str) -> Result<String, String> {
    let example = if example.is_empty() { "https://smba.example/" } else { example };
    address::base_url(text, example).map(|url| format!("{url}/"))
}

/// A tenant by its GUID or one of its domains.
fn authority(text: &str, _: &str) -> Result<String, String> {
    let good = text.len() <= 253
        && text
            .split('.')
            .all(|label| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
    let text = text.to_owned();
    if good {
        Ok(text)
    } else {
        Err("not a tenant; write its GUID or a domain such as \"botframework.com\"".to_owned())
    }
}
