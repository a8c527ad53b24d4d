//! Who may be told which secret: from an [`Address`] to the URL that may be asked and the token that may go along.
//!
//! Links and service URLs come from payloads, so they are data: a link is followed only on the configured Graph origin,
//! a service URL only below a configured prefix (digest, trap 32). Redirects are never followed.

use url::Url;

use super::ask::Address;
use super::config::Endpoints;

/// Which token goes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The Graph token.
    Graph,
    /// The Bot Connector token.
    Connector,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The URL.
    pub url: Url,
    /// The token that goes along.
    pub audience: Audience,
}

/// Finds the URL of an address, or says why it may not be asked.
///
/// # Errors
/// A text without the address itself.
pub fn of(address: &Address, endpoints: &Endpoints) -> Result<Destination, String> {
    match address {
        Address::Graph(path) => {
            let url = Url::parse(&format!("{}/v1.0{path}", endpoints.graph_url));
            let url = url.map_err(|_| "the request's path makes no URL".to_owned())?;
            Ok(Destination { url, audience: Audience::Graph })
        }
        Address::Link(link) => {
            let url = Url::parse(link).map_err(|_| "the service's link is no URL".to_owned())?;
            if !lies_below(&url, &endpoints.graph_url) {
                return Err("the service's link leads away from graph_url and was not followed".to_owned());
            }
            Ok(Destination { url, audience: Audience::Graph })
        }
        Address::Connector { service_url, path } => {
            let base = Url::parse(service_url).map_err(|_| "the activity's serviceUrl is no URL".to_owned())?;
            if !endpoints.bot_service_urls.iter().any(|prefix| lies_below(&base, prefix)) {
                return Err(
                    "the activity's serviceUrl is below none of bot_service_urls and was sent no token".to_owned()
                );
            }
            let url = Url::parse(&format!("{}{path}", service_url.trim_end_matches('/')));
            let url = url.map_err(|_| "the activity's serviceUrl makes no URL".to_owned())?;
            Ok(Destination { url, audience: Audience::Connector })
        }
    }
}

/// Whether a URL has the origin of `base` and a path at or below its path. No user names, no queries in the base.
fn lies_below(url: &Url, base: &str) -> bool {
    let Ok(base) = Url::parse(base) else { return false };
    let path = base.path().trim_end_matches('/');
    let below = url.path().strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    url.scheme() == base.scheme()
        && url.host() == base.host()
        && url.port_or_known_default() == base.port_or_known_default()
        && url.username().is_empty()
        && url.password().is_none()
        && below
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(in crate::connector::teams) fn endpoints() -> Endpoints {
        Endpoints {
            login_url: "https://login.microsoftonline.com".into(),
            graph_url: "https://graph.microsoft.com".into(),
            graph_scope: String::new(),
            calls_openid_url: String::new(),
            calls_issuers: Vec::new(),
            notifications_openid_url: String::new(),
            notifications_issuers: Vec::new(),
            notifications_publisher: String::new(),
            bot_openid_url: String::new(),
            bot_issuers: Vec::new(),
            bot_tenant: String::new(),
            bot_scope: String::new(),
            bot_service_urls: vec!["https://smba.trafficmanager.net/".into(), "https://b.example/teams".into()],
        }
    }

    #[test]
    fn links_are_followed_on_the_graph_origin_only() {
        let follows = |link: &str| of(&Address::Link(link.to_owned()), &endpoints()).is_ok();
        assert!(follows("https://graph.microsoft.com/v1.0/chats/x/messages?$skiptoken=a"));
        assert!(follows("https://graph.microsoft.com:443/v1.0/chats"));
        for stranger in [
            "https://graph.microsoft.com.evil.example/v1.0/chats",
            "https://graph.microsoft.com@evil.example/v1.0",
            "https://user@graph.microsoft.com/v1.0",
            "http://graph.microsoft.com/v1.0/chats",
            "https://graph.microsoft.com:8443/v1.0",
            "//graph.microsoft.com/v1.0",
            "file:///etc/passwd",
            "",
        ] {
            assert!(!follows(stranger), "{stranger}");
        }
    }

    #[test]
    fn a_connector_token_goes_below_a_configured_prefix_only() {
        let asks = |service_url: &str| {
            let address = Address::Connector { service_url: service_url.to_owned(), path: "/v3/conversations".into() };
            of(&address, &endpoints()).map(|found| found.url.to_string())
        };
        assert_eq!(
            asks("https://smba.trafficmanager.net/emea/").as_deref(),
            Ok("https://smba.trafficmanager.net/emea/v3/conversations")
        );
        assert!(asks("https://b.example/teams").is_ok() && asks("https://b.example/teams/x").is_ok());
        for stranger in [
            "https://b.example/teamsters",
            "https://b.example/",
            "https://evil.example/",
            "http://b.example/teams",
            "https://b.example/teams/../",
        ] {
            assert!(asks(stranger).is_err(), "{stranger}");
        }
    }

    #[test]
    fn paths_lie_below_the_configured_graph() {
        let found = of(&Address::Graph("/chats/19%3Ax/messages?$top=50".into()), &endpoints()).expect("url");
        assert_eq!(found.url.as_str(), "https://graph.microsoft.com/v1.0/chats/19%3Ax/messages?$top=50");
    }
}
