//! The login service: access tokens for secret or assertion, and the key sets of all three services (digest §2, §4, §13, §19).

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::keys::{Signer, url64};
use super::request::{Reply, Request};
use super::tenant::{CONNECTOR, GRAPH, Issued, Tenant};

impl Tenant {
    /// `POST /{tenant}/oauth2/v2.0/token`.
    pub fn token(&mut self, tenant: &str, request: &Request) -> Reply {
        let form: Vec<(String, String)> = url::form_urlencoded::parse(&request.body).into_owned().collect();
        let field = |name: &str| form.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str());
        let known = tenant.eq_ignore_ascii_case(&self.options.tenant_id)
            || (field("scope").starts_with(CONNECTOR) && tenant.eq_ignore_ascii_case("botframework.com"));
        let scope = field("scope").split(' ').next().unwrap_or_default();
        let audience = if scope == format!("{GRAPH}/.default") || scope == format!("{}/.default", self.urls.base) {
            GRAPH
        } else if scope == format!("{CONNECTOR}/.default") {
            CONNECTOR
        } else {
            return self.refuse(
                400,
                "invalid_scope",
                70_011,
                "The provided value for the input parameter 'scope' is not valid.",
            );
        };
        if !known {
            return self.refuse(400, "invalid_request", 90_002, "Tenant not found.");
        }
        if field("grant_type") != "client_credentials" {
            return self.refuse(400, "unsupported_grant_type", 70_003, "The app requested an unsupported grant type.");
        }
        if !field("client_id").eq_ignore_ascii_case(&self.options.client_id) {
            return self.refuse(400, "unauthorized_client", 700_016, "Application was not found in the directory.");
        }
        let assertion = field("client_assertion");
        if assertion.is_empty() {
            if self.faults.secret_expired {
                return self.refuse(401, "invalid_client", 7_000_222, "The provided client secret keys are expired.");
            }
            if field("client_secret") != self.options.client_secret {
                return self.refuse(401, "invalid_client", 7_000_215, "Invalid client secret provided.");
            }
        } else {
            let kind = field("client_assertion_type");
            if kind != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
                return self.refuse(
                    400,
                    "invalid_request",
                    900_144,
                    "The request body must contain 'client_assertion_type'.",
                );
            }
            let endpoint = format!("{}/{tenant}/oauth2/v2.0/token", self.urls.base);
            if let Err(why) = self.check_assertion(assertion, &endpoint) {
                return self.refuse(401, "invalid_client", 700_027, why);
            }
        }
        let seconds = self.options.token_seconds;
        let now = self.wall_ms() / 1000;
        let unique = self.guid();
        let roles = if audience == GRAPH { self.options.roles.clone() } else { Vec::new() };
        let claims = json!({
            "aud": audience, "iss": format!("https://sts.windows.net/{}/", self.options.tenant_id),
            "iat": now, "nbf": now, "exp": now.saturating_add_unsigned(seconds), "appid": self.options.client_id,
            "tid": self.options.tenant_id, "roles": roles, "uti": unique, "ver": "1.0",
        });
        let token = self.keys.token(Signer::Login, claims, None).unwrap_or_default();
        let until_ms = self.now_ms + seconds * 1000;
        self.issued.insert(token.clone(), Issued { audience, roles, until_ms });
        *self.ledger.tokens.entry(audience.to_owned()).or_default() += 1;
        let what = if audience == GRAPH { "Graph" } else { "the bot connector" };
        self.tell(format!("The recorder gets a token for {what}"));
        Reply::json(
            200,
            &json!({ "token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token }),
        )
        .with("cache-control", "no-store".to_owned())
    }

    fn refuse(&mut self, status: u16, error: &str, code: u32, message: &str) -> Reply {
        self.ledger.refused_tokens += 1;
        let trace = self.guid();
        let body = json!({
            "error": error,
            "error_description": format!("AADSTS{code}: {message} Trace ID: {trace}"),
            "error_codes": [code],
            "timestamp": self.wall(),
            "trace_id": trace,
            "correlation_id": self.guid(),
        });
        Reply::json(status, &body)
    }

    /// Checks a client assertion against the registered certificate.
    fn check_assertion(&mut self, assertion: &str, endpoint: &str) -> Result<(), &'static str> {
        let (signed, signature) = assertion.rsplit_once('.').ok_or("The assertion is no JWT.")?;
        let (head, claims) = signed.split_once('.').ok_or("The assertion is no JWT.")?;
        let part = |text: &str| -> Option<Value> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok() };
        let head = part(head).ok_or("The assertion's header cannot be read.")?;
        let claims = part(claims).ok_or("The assertion's claims cannot be read.")?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "The assertion's signature cannot be read.")?;
        let (_, pem) = x509_parser::pem::parse_x509_pem(self.options.certificate_pem.as_bytes())
            .map_err(|_| "No certificate is registered for the application.")?;
        let (_, certificate) =
            X509Certificate::from_der(&pem.contents).map_err(|_| "The registered certificate cannot be read.")?;
        let sha256 = url64(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &pem.contents));
        let sha1 = url64(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &pem.contents));
        let named = match (head["x5t#S256"].as_str(), head["x5t"].as_str()) {
            (Some(x), _) => x.trim_end_matches('=') == sha256,
            (None, Some(x)) => x.trim_end_matches('=') == sha1,
            (None, None) => return Err("The assertion names no certificate (x5t#S256, x5t)."),
        };
        if !named {
            return Err("The certificate with this thumbprint is not registered.");
        }
        let algorithm = match head["alg"].as_str() {
            Some("PS256") => &RSA_PSS_2048_8192_SHA256,
            Some("RS256") => &RSA_PKCS1_2048_8192_SHA256,
            _ => return Err("The assertion's algorithm must be PS256 or RS256."),
        };
        UnparsedPublicKey::new(algorithm, certificate.public_key().raw)
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| "The assertion's signature is wrong.")?;
        let now = self.wall_ms() / 1000;
        if claims["aud"] != endpoint {
            return Err("The assertion's aud must be the token endpoint.");
        }
        let own = |name: &str| claims[name].as_str().is_some_and(|v| v.eq_ignore_ascii_case(&self.options.client_id));
        if !own("iss") || !own("sub") {
            return Err("The assertion's iss and sub must be the client id.");
        }
        // A NumericDate may have a fraction (RFC 7519 §2), and msal's does.
        let time = |name: &str| claims[name].as_f64().map(|seconds| seconds as i64);
        let exp = time("exp").unwrap_or(0);
        if exp <= now || time("nbf").is_some_and(|n| n > now + 300) {
            return Err("The assertion is not within its valid time range.");
        }
        if exp > now + 3600 {
            self.complain("a client assertion lives longer than an hour");
        }
        let jti = claims["jti"].as_str().unwrap_or_default().to_owned();
        if jti.is_empty() {
            return Err("The assertion has no jti.");
        }
        if self.assertions.contains(&jti) {
            self.violate("a client assertion was used twice");
        }
        self.assertions.push(jti);
        Ok(())
    }

    /// OpenID metadata of a service.
    pub fn openid(&self, signer: Signer) -> Reply {
        let base = &self.urls.base;
        let (issuer, keys) = match signer {
            Signer::Calls => (CONNECTOR.to_owned(), format!("{base}/aps/v1/keys")),
            Signer::Bot => (CONNECTOR.to_owned(), format!("{base}/bot/v1/.well-known/keys")),
            Signer::Login => {
                ("https://sts.windows.net/{tenantid}/".to_owned(), format!("{base}/common/discovery/keys"))
            }
        };
        Reply::json(
            200,
            &json!({
                "issuer": issuer,
                "jwks_uri": keys,
                "authorization_endpoint": format!("{base}/common/oauth2/authorize"),
                "token_endpoint": format!("{base}/common/oauth2/token"),
                "id_token_signing_alg_values_supported": ["RS256"],
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
                "response_types_supported": ["code", "id_token"],
                "subject_types_supported": ["pairwise"],
            }),
        )
    }

    /// OpenID metadata of a tenant, for clients that look up the token endpoint.
    pub fn tenant_openid(&self, tenant: &str) -> Reply {
        let base = &self.urls.base;
        Reply::json(
            200,
            &json!({
                "issuer": format!("{base}/{tenant}/v2.0"),
                "authorization_endpoint": format!("{base}/{tenant}/oauth2/v2.0/authorize"),
                "token_endpoint": format!("{base}/{tenant}/oauth2/v2.0/token"),
                "device_authorization_endpoint": format!("{base}/{tenant}/oauth2/v2.0/devicecode"),
                "jwks_uri": format!("{base}/common/discovery/keys"),
                "id_token_signing_alg_values_supported": ["RS256"],
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
                "response_types_supported": ["code", "id_token"],
                "subject_types_supported": ["pairwise"],
            }),
        )
    }
}
