//! Microsoft's clouds: where each has its services, and which features its metadata has (digest §3).

/// Which of Microsoft's clouds; gives the defaults of every endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// Worldwide, also GCC.
    Global,
    /// US Government L4, GCC High.
    UsGovL4,
    /// US Government L5, DoD.
    UsGovL5,
    /// China, operated by 21Vianet.
    China,
}

/// Every place outside that the connector talks to, and what it expects in tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// `https://login.microsoftonline.com`, no slash at the end.
    pub login_url: String,
    /// `https://graph.microsoft.com`, no slash at the end.
    pub graph_url: String,
    /// `https://graph.microsoft.com/.default`.
    pub graph_scope: String,
    /// OpenID metadata of call notifications.
    pub calls_openid_url: String,
    /// `iss` of call notifications, any of them.
    pub calls_issuers: Vec<String>,
    /// OpenID metadata of validation tokens.
    pub notifications_openid_url: String,
    /// `iss` of validation tokens; `{tid}` stands for the token's own.
    pub notifications_issuers: Vec<String>,
    /// `appid` or `azp` of validation tokens.
    pub notifications_publisher: String,
    /// OpenID metadata of activities.
    pub bot_openid_url: String,
    /// `iss` of activities.
    pub bot_issuers: Vec<String>,
    /// Authority of the connector token.
    pub bot_tenant: String,
    /// Scope of the connector token.
    pub bot_scope: String,
    /// Prefixes of service URLs that may be sent a connector token.
    pub bot_service_urls: Vec<String>,
}

impl Cloud {
    /// The words of the configuration, in the order of the enum.
    pub const WORDS: &[&str] = &["global", "us-gov-l4", "us-gov-l5", "china"];

    /// From the word of the configuration.
    pub fn parse(word: &str) -> Option<Cloud> {
        let all = [Cloud::Global, Cloud::UsGovL4, Cloud::UsGovL5, Cloud::China];
        all.into_iter().find(|cloud| cloud.as_str() == word)
    }

    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Cloud::Global => "global",
            Cloud::UsGovL4 => "us-gov-l4",
            Cloud::UsGovL5 => "us-gov-l5",
            Cloud::China => "china",
        }
    }

    /// Whether `answer` takes `participantCapacity` and `callOptions` there.
    pub fn has_call_options(self) -> bool {
        self == Cloud::Global
    }

    /// Whether there are calls at all.
    pub fn has_calls(self) -> bool {
        self != Cloud::China
    }
}

/// What differs from cloud to cloud.
struct Hosts {
    login: &'static str,
    graph: &'static str,
    /// Of v1 tokens; the v2 issuer is below `login`.
    issuer: &'static str,
    bot: &'static str,
    bot_openid: &'static str,
    /// `None`: the customer's own.
    bot_tenant: Option<&'static str>,
    bot_services: &'static [&'static str],
}

const GLOBAL: Hosts = Hosts {
    login: "https://login.microsoftonline.com",
    graph: "https://graph.microsoft.com",
    issuer: "https://sts.windows.net/{tid}/",
    bot: "https://api.botframework.com",
    bot_openid: "https://login.botframework.com/v1/.well-known/openidconfiguration",
    bot_tenant: None,
    bot_services: &["https://smba.trafficmanager.net/"],
};

const US_GOV_L4: Hosts = Hosts {
    login: "https://login.microsoftonline.us",
    graph: "https://graph.microsoft.us",
    bot: "https://api.botframework.us",
    bot_openid: "https://login.botframework.azure.us/v1/.well-known/openidconfiguration",
    bot_tenant: Some("MicrosoftServices.onmicrosoft.us"),
    bot_services: &["https://smba.infra.gov.teams.microsoft.us/"],
    ..GLOBAL
};

const US_GOV_L5: Hosts = Hosts {
    graph: "https://dod-graph.microsoft.us",
    bot_services: &["https://smba.infra.dod.teams.microsoft.us/"],
    ..US_GOV_L4
};

/// No bot values are published for this cloud: the global ones stand in, and no service may be sent a token.
const CHINA: Hosts = Hosts {
    login: "https://login.chinacloudapi.cn",
    graph: "https://microsoftgraph.chinacloudapi.cn",
    issuer: "https://sts.chinacloudapi.cn/{tid}/",
    bot_services: &[],
    ..GLOBAL
};

impl Endpoints {
    /// The defaults of a cloud for this customer tenant. The values of call notifications are published for the global
    /// cloud only and are the same everywhere.
    pub fn of(cloud: Cloud, tenant_id: &str) -> Endpoints {
        let hosts = match cloud {
            Cloud::Global => GLOBAL,
            Cloud::UsGovL4 => US_GOV_L4,
            Cloud::UsGovL5 => US_GOV_L5,
            Cloud::China => CHINA,
        };
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Endpoints {
            login_url: hosts.login.to_owned(),
            graph_url: hosts.graph.to_owned(),
            graph_scope: format!("{}/.default", hosts.graph),
            calls_openid_url: "https://api.aps.skype.com/v1/.well-known/OpenIdConfiguration".to_owned(),
            calls_issuers: texts(&["https://graph.microsoft.com", "https://api.botframework.com"]),
            notifications_openid_url: format!("{}/common/.well-known/openid-configuration", hosts.login),
            notifications_issuers: vec![hosts.issuer.to_owned(), format!("{}/{{tid}}/v2.0", hosts.login)],
            notifications_publisher: "0bf30f3b-4a52-48df-9a82-234910c4a086".to_owned(),
            bot_openid_url: hosts.bot_openid.to_owned(),
            bot_issuers: texts(&[hosts.bot]),
            bot_tenant: hosts.bot_tenant.unwrap_or(tenant_id).to_owned(),
            bot_scope: format!("{}/.default", hosts.bot),
            bot_service_urls: texts(hosts.bot_services),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_global_cloud_has_the_addresses_of_the_contract() {
        let found = Endpoints::of(Cloud::Global, "t");
        assert_eq!(found.graph_scope, "https://graph.microsoft.com/.default");
        assert_eq!(found.calls_openid_url, "https://api.aps.skype.com/v1/.well-known/OpenIdConfiguration");
        assert_eq!(found.calls_issuers, ["https://graph.microsoft.com", "https://api.botframework.com"]);
        assert_eq!(
            found.notifications_openid_url,
            "https://login.microsoftonline.com/common/.well-known/openid-configuration"
        );
        let issuers = ["https://sts.windows.net/{tid}/", "https://login.microsoftonline.com/{tid}/v2.0"];
        assert_eq!(found.notifications_issuers, issuers);
        assert_eq!((found.bot_tenant.as_str(), found.bot_issuers[0].as_str()), ("t", "https://api.botframework.com"));
        assert_eq!(found.bot_service_urls, ["https://smba.trafficmanager.net/"]);
    }

    #[test]
    fn other_clouds_have_hosts_of_their_own_and_share_none_that_is_sent_a_secret() {
        let global = Endpoints::of(Cloud::Global, "t");
        for word in &Cloud::WORDS[1..] {
            let cloud = Cloud::parse(word).expect("known");
            let found = Endpoints::of(cloud, "t");
            assert_ne!((&found.login_url, &found.graph_url), (&global.login_url, &global.graph_url), "{word}");
            assert!(found.notifications_openid_url.starts_with(&found.login_url), "{word}");
            assert!(!found.bot_service_urls.contains(&global.bot_service_urls[0]), "{word}");
            assert!(!cloud.has_call_options(), "{word}");
        }
        assert_eq!(Endpoints::of(Cloud::UsGovL5, "t").graph_url, "https://dod-graph.microsoft.us");
        assert_eq!(Endpoints::of(Cloud::UsGovL4, "t").bot_tenant, "MicrosoftServices.onmicrosoft.us");
        assert!(Cloud::UsGovL4.has_calls() && !Cloud::China.has_calls());
    }

    #[test]
    fn every_cloud_has_its_word() {
        for word in Cloud::WORDS {
            assert_eq!(Cloud::parse(word).map(Cloud::as_str), Some(*word));
        }
        assert_eq!(Cloud::parse("GCC"), None);
    }
}
