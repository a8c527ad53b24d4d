//! `/subscriptions` (digest §12): made, renewed, changed, listed, deleted; addresses are validated before the answer.

use serde_json::{Value, json};

use super::super::encrypt::Certificate;
use super::super::request::{Reply, Request};
use super::super::server::{Answer, Plan};
use super::super::subscription::{Scope, Subscription};
use super::super::tenant::Tenant;
use super::needs;
use crate::model::Timestamp;

/// Longest life: 4320 minutes.
const LONGEST_MS: i64 = 4_320 * 60_000;
/// Longest life without an address for lifecycle notifications.
const UNWATCHED_MS: i64 = 60 * 60_000;

fn bad(what: &str) -> Reply {
    Reply::error(400, "InvalidRequest", what)
}

pub(super) fn route(tenant: &mut Tenant, rest: &[&str], request: &Request, roles: &[String]) -> Answer {
    let find = |tenant: &Tenant, id: &str| {
        tenant
            .subscriptions
            .iter()
            .find(|s| s.id.eq_ignore_ascii_case(id) && s.expires_ms > tenant.wall_ms())
            .cloned()
            .ok_or_else(|| Reply::error(404, "ResourceNotFound", "The object was not found."))
    };
    let answered = match (request.method.as_str(), rest) {
        ("GET", []) => {
            let wall = tenant.wall_ms();
            let all: Vec<Value> = tenant
                .subscriptions
                .iter()
                .filter(|s| s.expires_ms > wall)
                .map(|s| tenant.subscription_json(s, false))
                .collect();
            let context = format!("{}/v1.0/$metadata#subscriptions", tenant.urls.base);
            Ok(Reply::json(200, &json!({ "@odata.context": context, "value": all })))
        }
        ("POST", []) => match create(tenant, request, roles) {
            Ok(plan) => return Answer::Validate(Box::new(plan)),
            Err(refused) => Err(refused),
        },
        ("GET", [id]) => find(tenant, id).map(|s| Reply::json(200, &tenant.subscription_json(&s, false))),
        ("PATCH", [id]) => match find(tenant, id).and_then(|s| change(tenant, s, request, roles)) {
            Ok(Answer::Reply(reply)) => Ok(reply),
            Ok(validate) => return validate,
            Err(refused) => Err(refused),
        },
        ("DELETE", [id]) => find(tenant, id).map(|s| {
            tenant.subscriptions.retain(|other| other.id != s.id);
            tenant.tell(format!("The recorder gives up its subscription of {}", s.resource));
            Reply::empty(204)
        }),
        ("POST", [id, "reauthorize"]) => find(tenant, id).and_then(|s| {
            needs(roles, &[s.scope.permission()])?;
            tenant.ledger.renewals += 1;
            Ok(Reply::empty(204))
        }),
        _ => Err(Reply::not_found()),
    };
    answered.unwrap_or_else(|refused| refused).into()
}

/// A moment to which a subscription may live, milliseconds since 1970.
fn expiry(tenant: &Tenant, body: &Value, watched: bool) -> Result<i64, Reply> {
    let text = body["expirationDateTime"].as_str().ok_or_else(|| bad("expirationDateTime is missing."))?;
    let until = Timestamp::parse_rfc3339(text).ok_or_else(|| bad("expirationDateTime cannot be read."))?.millis();
    let life = until - tenant.wall_ms();
    if life <= 0 {
        return Err(bad("Subscription expiration can not be in the past."));
    }
    // A minute of grace: clocks differ.
    if life > LONGEST_MS + 60_000 {
        return Err(bad("Subscription expiration can only be 4320 minutes in the future."));
    }
    if life > UNWATCHED_MS + 60_000 && !watched {
        return Err(bad(
            "lifecycleNotificationUrl is a required property for this resource when expirationDateTime is more than 1 hour ahead.",
        ));
    }
    Ok(until)
}

/// Encryption certificate and id, both or neither.
fn certificate(body: &Value) -> Result<Option<Certificate>, Reply> {
    match (body["encryptionCertificate"].as_str(), body["encryptionCertificateId"].as_str()) {
        (None, None) => Ok(None),
        (Some(text), Some(id)) if id.len() <= 128 => Certificate::read(id, text).map(Some).map_err(|e| bad(&e)),
        _ => Err(bad("encryptionCertificate and encryptionCertificateId are required together.")),
    }
}

/// An address for notifications: https, or http on this machine as long as the service is here, too.
fn address(value: &Value, name: &str) -> Result<String, Reply> {
    let text = value.as_str().unwrap_or_default();
    let parsed = url::Url::parse(text).map_err(|_| bad(&format!("{name} must be an https address.")))?;
    let near = matches!(parsed.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
    if parsed.scheme() == "https" || (parsed.scheme() == "http" && near) {
        Ok(text.to_owned())
    } else {
        Err(bad(&format!("{name} must be an https address.")))
    }
}

fn create(tenant: &mut Tenant, request: &Request, roles: &[String]) -> Result<Plan, Reply> {
    let body = request.json()?;
    const KNOWN: &[&str] = &[
        "changeType",
        "notificationUrl",
        "lifecycleNotificationUrl",
        "resource",
        "includeResourceData",
        "encryptionCertificate",
        "encryptionCertificateId",
        "expirationDateTime",
        "clientState",
        "latestSupportedTlsVersion",
        "@odata.type",
    ];
    for key in body.as_object().into_iter().flat_map(serde_json::Map::keys) {
        if !KNOWN.contains(&key.as_str()) {
            return Err(bad(&format!("The property '{key}' does not exist on type 'microsoft.graph.subscription'.")));
        }
    }
    let resource = body["resource"].as_str().unwrap_or_default().to_owned();
    let scope = Scope::read(&resource).ok_or_else(|| bad("The resource is not supported."))?;
    needs(roles, &[scope.permission()])?;
    if let Scope::Chat(id) | Scope::Channel(id) = &scope {
        let c = tenant.chat_by_id(id).ok_or_else(|| Reply::error(404, "NotFound", "The chat was not found."))?;
        if tenant.chats[c].foreign {
            return Err(Reply::error(403, "Forbidden", "The chat belongs to another tenant."));
        }
    }
    let change_types: Vec<String> =
        body["changeType"].as_str().unwrap_or_default().split(',').map(|t| t.trim().to_owned()).collect();
    if change_types.iter().any(|t| !["created", "updated", "deleted"].contains(&t.as_str())) {
        return Err(bad("changeType must name created, updated or deleted."));
    }
    let url = address(&body["notificationUrl"], "notificationUrl")?;
    let lifecycle_url = match &body["lifecycleNotificationUrl"] {
        Value::Null => None,
        value => Some(address(value, "lifecycleNotificationUrl")?),
    };
    let client_state = body["clientState"].as_str().map(str::to_owned);
    if client_state.as_ref().is_some_and(|s| s.chars().count() > 128) {
        return Err(bad("clientState is longer than 128 characters."));
    }
    let expires_ms = expiry(tenant, &body, lifecycle_url.is_some())?;
    let certificate = certificate(&body)?;
    if (body["includeResourceData"] == true) != certificate.is_some() {
        return Err(bad("includeResourceData and encryptionCertificate are required together."));
    }
    let wall = tenant.wall_ms();
    let alive = |s: &&Subscription| s.expires_ms > wall;
    if tenant.subscriptions.iter().filter(alive).any(|s| s.scope == scope) {
        return Err(Reply::error(
            409,
            "Conflict",
            "A subscription of this application for this resource exists already.",
        ));
    }
    if tenant.subscriptions.iter().filter(alive).count() >= tenant.options.max_subscriptions {
        return Err(Reply::error(403, "Forbidden", "The number of subscriptions has reached the limit."));
    }
    let model = request.query.iter().any(|(n, _)| n == "model") || resource.contains("model=");
    let subscription = Subscription {
        id: tenant.guid(),
        resource,
        scope,
        change_types,
        url,
        lifecycle_url,
        client_state,
        certificate,
        expires_ms,
        model,
        silent: false,
    };
    let urls = std::iter::once(subscription.url.clone()).chain(subscription.lifecycle_url.clone()).collect();
    Ok(Plan { urls, subscription, change: false })
}

fn change(tenant: &mut Tenant, mut s: Subscription, request: &Request, roles: &[String]) -> Result<Answer, Reply> {
    needs(roles, &[s.scope.permission()])?;
    let body = request.json()?;
    for key in body.as_object().into_iter().flat_map(serde_json::Map::keys) {
        if !["expirationDateTime", "notificationUrl", "encryptionCertificate", "encryptionCertificateId"]
            .contains(&key.as_str())
        {
            return Err(bad(&format!("The property '{key}' cannot be changed.")));
        }
    }
    if !body["expirationDateTime"].is_null() {
        s.expires_ms = expiry(tenant, &body, s.lifecycle_url.is_some())?;
    }
    if let Some(new) = certificate(&body)? {
        if s.certificate.is_none() {
            return Err(bad("The subscription carries no resource data."));
        }
        s.certificate = Some(new);
    }
    if !body["notificationUrl"].is_null() {
        s.url = address(&body["notificationUrl"], "notificationUrl")?;
        return Ok(Answer::Validate(Box::new(Plan { urls: vec![s.url.clone()], subscription: s, change: true })));
    }
    Ok(tenant.subscribed(Plan { urls: Vec::new(), subscription: s, change: true }).into())
}

impl Tenant {
    /// The addresses are good: the subscription comes into being, or changes.
    pub fn subscribed(&mut self, plan: Plan) -> Reply {
        let s = plan.subscription;
        let mut shown = self.subscription_json(&s, true);
        shown["@odata.context"] = json!(format!("{}/v1.0/$metadata#subscriptions/$entity", self.urls.base));
        let known = self.subscriptions.iter_mut().find(|other| other.id == s.id);
        if plan.change {
            self.ledger.renewals += 1;
            match known {
                Some(place) => *place = s,
                None => return Reply::error(404, "ResourceNotFound", "The object was not found."),
            }
            return Reply::json(200, &shown);
        }
        self.ledger.subscriptions += 1;
        self.tell(format!("The recorder subscribes to {}", s.resource));
        self.subscriptions.push(s);
        Reply::json(201, &shown)
    }
}
