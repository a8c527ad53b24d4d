//! The courier: takes calls, adds what proves who we are, and is the only one who decides who may be told a secret.
//!
//! A web ticket is valid only on the pool that issued it, so there is one ticket per origin. A call to an origin without
//! ticket goes out bare; the 401 it gets says where that pool issues tickets; then the same call goes out again with
//! one. Foreign or stale tickets come back as 401, or as 500 with diagnostics 28032, and lead to one new ticket and one
//! repetition, never more. The password goes to trusted hosts only and is not tried again once it was called wrong:
//! accounts get locked.
//!
//! Sans-IO: [`Courier::call`] and [`Courier::answer`] return [`Step`]s; the driver sends requests and hands back what
//! became of them, in any order.

mod failure;
#[cfg(test)]
mod tests;
mod token;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use url::Url;

use super::challenge::{self, Challenge};
use super::http::{Answer, Authorization, Body, Lane, Method, NetFailure, Outcome, Request, RequestId, Secret};
use super::origin::{Origin, Trust, resolve};
use crate::model::Timestamp;

pub use failure::{Alarm, CallFailure, SignInFailure, diagnostics_code};
use token::{Grant, Reply, Ticket};

/// The account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// `DOMAIN\user` or `user@domain`.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// Something to be asked of the platform, without any thought of tickets.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Method.
    pub method: Method,
    /// Absolute URL.
    pub url: Url,
    /// Body; sent again unchanged if the call has to be repeated.
    pub body: Body,
    /// Connection.
    pub lane: Lane,
    /// Time for one attempt.
    pub timeout: Duration,
    /// Never sign in for it: goes out bare to any host, and a 401 is an answer like others (the discovery root).
    pub anonymous: bool,
}

/// Number of a call; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// What should happen next, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Put this on the wire and hand its outcome to [`Courier::answer`].
    Send(RequestId, Request),
    /// The call is over. An answer may have any status.
    Done(CallId, Result<Answer, CallFailure>),
    /// A person should know; it holds no secret.
    Raise(Alarm),
}

/// How long a token request may take.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);
/// How soon a renewal that failed for a passing reason is tried again.
const RENEWAL_PAUSE: Duration = Duration::from_secs(60);
/// Diagnostics of a ticket that another pool issued.
const FOREIGN_TICKET: u32 = 28032;

#[derive(Debug)]
struct Pending {
    call: Call,
    origin: Origin,
    /// The request on the wire and the ticket it carries (its number, 0 = bare); `None` = waits for a ticket.
    sent: Option<(RequestId, u64)>,
    /// It has been answered 401 once.
    refused: bool,
    /// It has been answered 500/28032 once.
    foreign: bool,
}

#[derive(Debug)]
enum Purpose {
    Call(CallId),
    Ticket(Origin),
}

/// What is known of one origin.
#[derive(Debug, Default)]
struct Pool {
    ticket: Option<Ticket>,
    /// A token request is on the wire for this origin, at this address.
    fetching: Option<(Url, Grant)>,
    waiting: VecDeque<CallId>,
}

/// See the module.
#[derive(Debug)]
pub struct Courier {
    trust: Trust,
    credentials: Credentials,
    pools: BTreeMap<Origin, Pool>,
    calls: BTreeMap<CallId, Pending>,
    wire: BTreeMap<RequestId, Purpose>,
    blocked: Option<SignInFailure>,
    last_call: u64,
    last_request: u64,
    last_ticket: u64,
}

impl Courier {
    /// A courier without tickets.
    pub fn new(trust: Trust, credentials: Credentials) -> Courier {
        Courier {
            trust,
            credentials,
            pools: BTreeMap::new(),
            calls: BTreeMap::new(),
            wire: BTreeMap::new(),
            blocked: None,
            last_call: 0,
            last_request: 0,
            last_ticket: 0,
        }
    }

    /// Starts a call. Unless it is anonymous, a host that is not trusted gets nothing at all.
    pub fn call(&mut self, call: Call, now: Timestamp) -> (CallId, Vec<Step>) {
        self.last_call += 1;
        let id = CallId(self.last_call);
        if !call.anonymous && !self.trust.may_receive_secrets(&call.url) {
            let host = Origin::of(&call.url).to_string();
            return (id, vec![Step::Done(id, Err(CallFailure::Untrusted { host }))]);
        }
        let origin = Origin::of(&call.url);
        self.calls.insert(id, Pending { call, origin, sent: None, refused: false, foreign: false });
        let mut steps = Vec::new();
        self.proceed(id, now, &mut steps);
        (id, steps)
    }

    /// Takes what became of a request. Requests that nobody waits for any more are ignored.
    pub fn answer(&mut self, id: RequestId, outcome: Outcome, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        match self.wire.remove(&id) {
            None => {}
            Some(Purpose::Ticket(origin)) => self.ticket_answer(origin, outcome, now, &mut steps),
            Some(Purpose::Call(call)) => self.call_answer(call, outcome, now, &mut steps),
        }
        steps
    }

    /// The grant by which the ticket at hand for this URL's origin was got.
    pub fn grant(&self, url: &Url) -> Option<&'static str> {
        let ticket = self.pools.get(&Origin::of(url))?.ticket.as_ref()?;
        Some(ticket.grant.name())
    }

    /// When [`Courier::renew`] should be called next; `None` while there is nothing to renew.
    pub fn renewal_due(&self) -> Option<Timestamp> {
        if self.blocked.is_some() {
            return None;
        }
        let idle = self.pools.values().filter(|pool| pool.fetching.is_none());
        idle.filter_map(|pool| pool.ticket.as_ref()).map(|ticket| ticket.renew_at).min()
    }

    /// Asks for new tickets where the old ones have used up 80 % of their life or have ten minutes left. The old ones
    /// serve until the new ones are there.
    pub fn renew(&mut self, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.blocked.is_some() {
            return steps;
        }
        let due: Vec<(Origin, Url, Grant)> = self
            .pools
            .iter()
            .filter(|(_, pool)| pool.fetching.is_none())
            .filter_map(|(origin, pool)| pool.ticket.as_ref().map(|ticket| (origin, ticket)))
            .filter(|(_, ticket)| ticket.renew_at <= now)
            .map(|(origin, ticket)| (origin.clone(), ticket.issuer.clone(), ticket.grant))
            .collect();
        for (origin, url, grant) in due {
            self.fetch(&origin, url, grant, &mut steps);
        }
        steps
    }

    /// Drops a call; it will not be [`Step::Done`]. A token request that it caused goes on.
    pub fn cancel(&mut self, call: CallId) {
        if let Some(pending) = self.calls.remove(&call) {
            if let Some((request, _)) = pending.sent {
                self.wire.remove(&request);
            }
            if let Some(pool) = self.pools.get_mut(&pending.origin) {
                pool.waiting.retain(|waiting| *waiting != call);
            }
        }
    }

    /// Drops the ticket of an origin that is not needed any more, so that it is not renewed. Calls go on.
    pub fn forget_origin(&mut self, origin: &Origin) {
        if let Some(pool) = self.pools.get_mut(origin) {
            pool.ticket = None;
        }
    }

    /// Why no sign-in is tried at the moment, if so.
    pub fn credentials_blocked(&self) -> Option<&SignInFailure> {
        self.blocked.as_ref()
    }

    /// Lets the password be tried again. No faster than every 15 minutes, or accounts get locked.
    pub fn reset_credentials_block(&mut self) {
        self.blocked = None;
    }

    /// Sends the call with the ticket there is, or has it wait for the one being fetched, or sends it bare.
    fn proceed(&mut self, id: CallId, now: Timestamp, steps: &mut Vec<Step>) {
        let Some(pending) = self.calls.get_mut(&id) else { return };
        let mut carried = 0;
        let mut authorization = Authorization::None;
        if !pending.call.anonymous {
            let pool = self.pools.entry(pending.origin.clone()).or_default();
            pool.ticket.take_if(|ticket| ticket.expires <= now);
            if let Some(ticket) = &pool.ticket {
                carried = ticket.number;
                authorization = Authorization::Bearer(ticket.token.clone());
            } else if pool.fetching.is_some() {
                pending.sent = None;
                pool.waiting.push_back(id);
                return;
            } else if let Some(failure) = self.blocked.clone() {
                self.calls.remove(&id);
                steps.push(Step::Done(id, Err(CallFailure::SignIn(failure))));
                return;
            }
        }
        self.last_request += 1;
        let request = RequestId(self.last_request);
        pending.sent = Some((request, carried));
        self.wire.insert(request, Purpose::Call(id));
        let call = &pending.call;
        steps.push(Step::Send(
            request,
            Request {
                method: call.method,
                url: call.url.clone(),
                body: call.body.clone(),
                authorization,
                lane: call.lane,
                timeout: call.timeout,
            },
        ));
    }

    fn finish(&mut self, id: CallId, result: Result<Answer, CallFailure>, steps: &mut Vec<Step>) {
        if self.calls.remove(&id).is_some() {
            steps.push(Step::Done(id, result));
        }
    }

    fn call_answer(&mut self, id: CallId, outcome: Outcome, now: Timestamp, steps: &mut Vec<Step>) {
        let Some(pending) = self.calls.get_mut(&id) else { return };
        let carried = pending.sent.take().map_or(0, |(_, carried)| carried);
        let answer = match outcome {
            Outcome::Failed(failure) => return self.finish(id, Err(CallFailure::Net(failure)), steps),
            Outcome::Answer(answer) => answer,
        };
        if pending.call.anonymous {
            return self.finish(id, Ok(answer), steps);
        }
        let code = answer.diagnostics.as_deref().and_then(diagnostics_code);
        if answer.status == 500 && code == Some(FOREIGN_TICKET) && carried != 0 && !pending.foreign {
            pending.foreign = true;
            let origin = pending.origin.clone();
            self.drop_ticket(&origin, carried);
            return self.proceed(id, now, steps);
        }
        if answer.status != 401 {
            return self.finish(id, Ok(answer), steps);
        }
        let origin = pending.origin.clone();
        let base = pending.call.url.clone();
        let again = std::mem::replace(&mut pending.refused, true);
        self.drop_ticket(&origin, carried);
        if again {
            return self.finish(id, Err(CallFailure::SignIn(SignInFailure::Unauthorised { code })), steps);
        }
        let pool = self.pools.entry(origin.clone()).or_default();
        if pool.ticket.is_some() || pool.fetching.is_some() {
            // Somebody else's 401 has already led to a newer ticket, or will.
            return self.proceed(id, now, steps);
        }
        if let Some(failure) = self.blocked.clone() {
            return self.finish(id, Err(CallFailure::SignIn(failure)), steps);
        }
        match self.issuer(&base, &answer) {
            Ok((url, grant)) => {
                self.fetch(&origin, url, grant, steps);
                self.proceed(id, now, steps);
            }
            Err(failure) => self.finish(id, Err(failure), steps),
        }
    }

    /// Where and how this 401 lets us get a ticket.
    fn issuer(&self, base: &Url, refusal: &Answer) -> Result<(Url, Grant), CallFailure> {
        let challenges = challenge::parse(&refusal.www_authenticate);
        let offer = challenges.into_iter().find_map(|challenge| match challenge {
            Challenge::MsRtcOauth { href, grants } => Some((href, grants)),
            _ => None,
        });
        let Some((href, offered)) = offer else { return Err(CallFailure::SignIn(SignInFailure::NoChallenge)) };
        let url = resolve(base, &href).map_err(|_| CallFailure::SignIn(SignInFailure::NoChallenge))?;
        if !self.trust.may_receive_secrets(&url) {
            return Err(CallFailure::Untrusted { host: Origin::of(&url).to_string() });
        }
        match Grant::choose(&offered) {
            Some(grant) => Ok((url, grant)),
            None => Err(CallFailure::SignIn(SignInFailure::NoUsableGrant { offered })),
        }
    }

    /// Sends a token request. The address has been checked by [`Courier::issuer`].
    fn fetch(&mut self, origin: &Origin, url: Url, grant: Grant, steps: &mut Vec<Step>) {
        self.last_request += 1;
        let request = RequestId(self.last_request);
        self.wire.insert(request, Purpose::Ticket(origin.clone()));
        self.pools.entry(origin.clone()).or_default().fetching = Some((url.clone(), grant));
        let (body, authorization) = grant.proof(&self.credentials);
        steps.push(Step::Send(
            request,
            Request { method: Method::Post, url, body, authorization, lane: Lane::Command, timeout: TOKEN_TIMEOUT },
        ));
    }

    fn ticket_answer(&mut self, origin: Origin, outcome: Outcome, now: Timestamp, steps: &mut Vec<Step>) {
        let pool = self.pools.entry(origin.clone()).or_default();
        let Some((issuer, grant)) = pool.fetching.take() else { return };
        let waiting = std::mem::take(&mut pool.waiting);
        let reply = match outcome {
            Outcome::Failed(NetFailure::NoNtlm) => Err(CallFailure::SignIn(SignInFailure::NoNtlm)),
            Outcome::Failed(failure) => Err(CallFailure::Net(failure)),
            Outcome::Answer(answer) => token::read(&answer, grant).map_err(CallFailure::SignIn),
        };
        match reply {
            Ok(Reply { token, life }) => {
                self.last_ticket += 1;
                pool.ticket = Some(Ticket::new(self.last_ticket, token, life, issuer, grant, now));
                for call in waiting {
                    self.proceed(call, now, steps);
                }
            }
            Err(failure) => {
                if let CallFailure::SignIn(wrong @ SignInFailure::WrongCredentials { .. }) = &failure {
                    self.blocked = Some(wrong.clone());
                    // A call that waited says the same by its failure; once is enough.
                    if waiting.is_empty() {
                        steps.push(Step::Raise(Alarm::WrongCredentials(wrong.clone())));
                    }
                } else if let Some(ticket) = &mut pool.ticket {
                    ticket.renew_at = now.plus(RENEWAL_PAUSE);
                    steps.push(Step::Raise(Alarm::NotRenewed {
                        origin: origin.to_string(),
                        expires: ticket.expires,
                        failure: failure.clone(),
                    }));
                }
                for call in waiting {
                    self.finish(call, Err(failure.clone()), steps);
                }
            }
        }
    }

    /// Drops the origin's ticket if it is the one that was refused and not a newer one.
    fn drop_ticket(&mut self, origin: &Origin, carried: u64) {
        if let Some(pool) = self.pools.get_mut(origin) {
            pool.ticket.take_if(|ticket| ticket.number == carried);
        }
    }
}
