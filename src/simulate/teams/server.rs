//! Which part answers a request: login, key sets, Graph or the bot connector. Tokens are checked here.

use serde_json::json;

use super::graph;
use super::keys::Signer;
use super::request::{Reply, Request};
use super::subscription::Subscription;
use super::tenant::{CONNECTOR, GRAPH, Tenant};

/// An answer, or what has to be done before it.
#[derive(Debug)]
pub(super) enum Answer {
    Reply(Reply),
    /// Validate these addresses, then make or change the subscription.
    Validate(Box<Plan>),
}

/// A subscription that waits for the validation of its addresses.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub urls: Vec<String>,
    pub subscription: Subscription,
    /// It exists already.
    pub change: bool,
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Answer::Reply(reply)
    }
}

/// The origin a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Home,
    Elsewhere,
}

impl Tenant {
    /// Answers a request.
    pub fn answer(&mut self, origin: Origin, request: &Request) -> Answer {
        if origin == Origin::Elsewhere {
            if request.header("authorization").is_some() {
                self.violate(format!("a token was sent to another host: {} {}", request.method, request.raw));
            }
            return Reply::not_found().into();
        }
        let words: Vec<&str> = request.segments.iter().map(String::as_str).collect();
        let method = request.method.as_str();
        match (method, words.as_slice()) {
            (_, ["v1.0", path @ ..]) => self.graph(path, request),
            (_, ["smba", _, path @ ..]) => self.connector(path, request).into(),
            (_, path) => {
                if request.header("authorization").is_some() {
                    self.violate(format!("a token was sent where none belongs: {method} {}", request.raw));
                }
                match (method, path) {
                    ("POST", [tenant, "oauth2", "v2.0", "token"]) => self.token(tenant, request),
                    ("GET", ["aps", "v1", ".well-known", "OpenIdConfiguration"]) => self.openid(Signer::Calls),
                    ("GET", ["aps", "v1", "keys"]) => Reply::json(200, &self.keys.set(Signer::Calls)),
                    ("GET", ["bot", "v1", ".well-known", "openidconfiguration"]) => self.openid(Signer::Bot),
                    ("GET", ["bot", "v1", ".well-known", "keys"]) => Reply::json(200, &self.keys.set(Signer::Bot)),
                    ("GET", ["common", ".well-known", "openid-configuration"]) => self.openid(Signer::Login),
                    ("GET", ["common", "discovery", "keys"]) => Reply::json(200, &self.keys.set(Signer::Login)),
                    ("GET", [tenant, "v2.0", ".well-known", "openid-configuration"]) => self.tenant_openid(tenant),
                    _ => Reply::not_found(),
                }
                .into()
            }
        }
    }

    /// The roles of the token, which must be for this audience.
    fn authorised(&mut self, request: &Request, audience: &str) -> Result<Vec<String>, Reply> {
        let refused = |message: &str| Reply::error(401, "InvalidAuthenticationToken", message);
        let Some(token) = request.bearer() else { return Err(refused("Access token is empty.")) };
        let Some(issued) = self.issued.get(token).cloned() else {
            return Err(refused("IDX14100: JWT is not well formed, or not one of this service."));
        };
        if issued.audience != audience {
            self.violate(format!("a token for {} was sent to {}", issued.audience, request.raw));
            return Err(refused("Access token validation failure. Invalid audience."));
        }
        if issued.until_ms <= self.now_ms {
            return Err(refused("Lifetime validation failed, the token is expired."));
        }
        Ok(issued.roles)
    }

    fn graph(&mut self, path: &[&str], request: &Request) -> Answer {
        let roles = match self.authorised(request, GRAPH) {
            Ok(roles) => roles,
            Err(reply) => return reply.into(),
        };
        let budgets = graph::budgets(&request.method, path);
        if let Err(wait) = self.budgets.draw(&budgets, self.now_ms) {
            self.ledger.throttled += 1;
            self.violate(format!("a budget of requests was overdrawn: {} {}", request.method, request.raw));
            let seconds = format!("{}.{:03}", wait / 1000, wait % 1000);
            return Reply::error(429, "TooManyRequests", "Please retry again later.")
                .with("retry-after", seconds)
                .into();
        }
        if request.method == "GET" && request.header("client-request-id").is_none() {
            self.complain("a request to Graph without client-request-id");
        }
        graph::route(self, path, request, &roles)
    }

    /// The bot connector: takes a message for a chat.
    fn connector(&mut self, path: &[&str], request: &Request) -> Reply {
        if let Err(reply) = self.authorised(request, CONNECTOR) {
            return reply;
        }
        let ("POST", ["v3", "conversations", conversation, "activities", ..]) = (request.method.as_str(), path) else {
            return Reply::not_found();
        };
        let id = conversation.split(';').next().unwrap_or_default();
        let Some(c) = self.chat_by_id(id) else {
            return Reply::error(404, "ConversationNotFound", "Conversation not found.");
        };
        if !self.chats[c].installed {
            return Reply::error(403, "BotNotInConversationRoster", "The bot is not part of the conversation roster.");
        }
        let activity = match request.json() {
            Ok(activity) => activity,
            Err(reply) => return reply,
        };
        let Some(text) = activity["text"].as_str().filter(|_| activity["type"] == "message") else {
            return Reply::error(400, "BadSyntax", "Invalid or missing activities in request body.");
        };
        self.tell(format!("The recorder says in \"{}\": {text}", self.chats[c].name));
        let id = self.post(c, text);
        Reply::json(201, &json!({ "id": id }))
    }
}
