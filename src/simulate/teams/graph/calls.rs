//! `/communications/calls` (digest §7).

use serde_json::{Value, json};

use super::super::call::{CallKind, Stage};
use super::super::request::{Reply, Request, collection};
use super::super::tenant::{Tenant, Timer};
use super::needs;

pub(super) fn route(
    tenant: &mut Tenant,
    id: &str,
    rest: &[&str],
    request: &Request,
    roles: &[String],
) -> Result<Reply, Reply> {
    let gone = || Reply::error(404, "8523", "Call not found.");
    let (g, l) = tenant.leg(id).ok_or_else(gone)?;
    let stage = tenant.gatherings[g].legs[l].stage;
    if let ("POST", ["answer"]) = (request.method.as_str(), rest) {
        return answer(tenant, g, l, request, roles);
    }
    if stage == Stage::Ended {
        return Err(gone());
    }
    match (request.method.as_str(), rest) {
        ("GET", []) => Ok(Reply::json(200, &tenant.call_json(g, l))),
        ("DELETE", []) => Ok(hang_up(tenant, g, l)),
        ("POST", ["reject"]) => reject(tenant, g, l, request),
        ("POST", ["keepAlive"]) => {
            tenant.gatherings[g].legs[l].alive_ms = tenant.now_ms;
            let id = tenant.gatherings[g].legs[l].id.clone();
            if let Some(record) = tenant.record(&id) {
                record.keep_alives += 1;
            }
            Ok(Reply::empty(200))
        }
        ("POST", ["updateRecordingStatus"]) => recording_status(tenant, g, l, request, roles),
        ("GET", ["participants"]) => {
            let context = format!(
                "{}/v1.0/$metadata#communications/calls('{}')/participants",
                tenant.urls.base, tenant.gatherings[g].legs[l].id
            );
            Ok(collection(context, tenant.roster_json(g), None))
        }
        ("GET", ["participants", participant]) => {
            let found = tenant.roster_json(g).into_iter().find(|p| p["id"] == *participant);
            found.map(|p| Reply::json(200, &p)).ok_or_else(Reply::not_found)
        }
        ("GET", ["contentSharingSessions"]) => {
            let sessions = tenant.gatherings[g].present.iter().filter_map(|p| p.sharing.as_ref());
            let sessions = sessions
                .map(|id| json!({ "@odata.type": "#microsoft.graph.contentSharingSession", "id": id }))
                .collect();
            let context = format!("{}/v1.0/$metadata#contentSharingSessions", tenant.urls.base);
            Ok(collection(context, sessions, None))
        }
        ("GET", ["operations", operation]) => Ok(Reply::json(
            200,
            &json!({
                "@odata.type": "#microsoft.graph.updateRecordingStatusOperation",
                "id": operation, "clientContext": null, "status": "completed", "resultInfo": null,
            }),
        )),
        _ => Err(Reply::error(405, "UnsupportedMethod", "The method is not allowed here.")),
    }
}

fn answer(tenant: &mut Tenant, g: usize, l: usize, request: &Request, roles: &[String]) -> Result<Reply, Reply> {
    let now = tenant.now_ms;
    let leg = &tenant.gatherings[g].legs[l];
    let (id, taken, deadline) = (leg.id.clone(), now - leg.offered_ms, leg.deadline_ms);
    let policy = leg.observed.is_some();
    if let Some(record) = tenant.record(&id) {
        record.answered_after_ms.get_or_insert(taken);
        record.late |= now > deadline;
    }
    let stage = tenant.gatherings[g].legs[l].stage;
    if stage == Stage::Ended || now > deadline {
        tenant.tell(format!("The recorder answers too late, after {taken} ms"));
        return Err(Reply::error(404, "8523", "Call not found."));
    }
    if stage != Stage::Incoming {
        tenant.complain("a call was answered twice");
        return Err(Reply::error(400, "8501", "The call is answered already."));
    }
    if tenant.gatherings[g].kind != CallKind::OneOnOne || policy {
        needs(roles, &["Calls.JoinGroupCall.All", "Calls.JoinGroupCallAsGuest.All"])?;
    }
    let body = request.json()?;
    let bad = |what: &str| Reply::error(400, "BadRequest", what);
    let callback = body["callbackUri"].as_str().ok_or_else(|| bad("callbackUri is missing."))?;
    let media = body["mediaConfig"]["@odata.type"].as_str().unwrap_or_default().trim_start_matches('#');
    match media {
        "microsoft.graph.serviceHostedMediaConfig" => {}
        "microsoft.graph.appHostedMediaConfig" => {
            needs(roles, &["Calls.AccessMedia.All"])?;
            if body["mediaConfig"]["blob"].as_str().is_none_or(str::is_empty) {
                return Err(bad("mediaConfig has no blob."));
            }
        }
        _ => return Err(bad("mediaConfig needs its @odata.type: the declared type is abstract.")),
    }
    let modalities: Vec<String> = body["acceptedModalities"]
        .as_array()
        .map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        .unwrap_or_default();
    let known = ["audio", "video", "videoBasedScreenSharing", "data"];
    if modalities.is_empty() || modalities.iter().any(|m| !known.contains(&m.as_str())) {
        return Err(bad("acceptedModalities must name modalities."));
    }
    for key in body.as_object().into_iter().flat_map(serde_json::Map::keys) {
        if !["callbackUri", "mediaConfig", "acceptedModalities", "participantCapacity", "callOptions"]
            .contains(&key.as_str())
        {
            return Err(bad(&format!("The property '{key}' does not exist on the action 'answer'.")));
        }
    }
    let options = &body["callOptions"];
    let typed = options["@odata.type"] == "#microsoft.graph.incomingCallOptions";
    if options.is_object() && !typed {
        tenant.complain("callOptions without its @odata.type: its wishes are ignored");
    }
    let wish = |name: &str| typed && options[name] == true;
    let (sharing_wanted, delta) = (wish("isContentSharingNotificationEnabled"), wish("isDeltaRosterEnabled"));
    let capacity = body["participantCapacity"].as_u64().unwrap_or(0);
    let leg = &mut tenant.gatherings[g].legs[l];
    leg.stage = Stage::Answered;
    leg.callback = Some(callback.to_owned());
    leg.capacity = capacity;
    leg.sharing_wanted = sharing_wanted;
    leg.delta = delta;
    leg.media = json!({ "@odata.type": format!("#{media}") });
    leg.modalities = modalities;
    leg.alive_ms = now;
    tenant.tell(format!("The recorder answers \"{}\" after {taken} ms", tenant.gatherings[g].name));
    tenant.later(tenant.options.establish_ms, Timer::Establish(id.clone()));
    tenant.later(tenant.options.keep_alive_ms, Timer::KeepAlive(id));
    Ok(Reply::empty(202))
}

fn reject(tenant: &mut Tenant, g: usize, l: usize, request: &Request) -> Result<Reply, Reply> {
    let body = request.json()?;
    let reason = body["reason"].as_str().unwrap_or("none").to_owned();
    if !["none", "busy", "forbidden"].contains(&reason.as_str()) {
        return Err(Reply::error(400, "BadRequest", "reason must be none, busy or forbidden."));
    }
    if tenant.gatherings[g].legs[l].stage != Stage::Incoming {
        return Err(Reply::error(400, "BadRequest", "The call does not ring."));
    }
    let id = tenant.gatherings[g].legs[l].id.clone();
    if let Some(record) = tenant.record(&id) {
        record.rejected = Some(reason);
    }
    tenant.tell(format!("The recorder rejects \"{}\"", tenant.gatherings[g].name));
    tenant.end_leg(g, l, 0, 603, "Decline.");
    Ok(Reply::empty(202))
}

fn hang_up(tenant: &mut Tenant, g: usize, l: usize) -> Reply {
    let id = tenant.gatherings[g].legs[l].id.clone();
    if let Some(record) = tenant.record(&id) {
        record.hung_up = true;
    }
    tenant.tell(format!("The recorder leaves \"{}\"", tenant.gatherings[g].name));
    let data = tenant.state_json(g, l, "terminating");
    tenant.notify_call(g, l, "terminating", "updated", "", Some(data));
    tenant.end_leg(g, l, 0, 0, "");
    Reply::empty(204)
}

fn recording_status(
    tenant: &mut Tenant,
    g: usize,
    l: usize,
    request: &Request,
    roles: &[String],
) -> Result<Reply, Reply> {
    needs(roles, &["Calls.JoinGroupCall.All", "Calls.JoinGroupCallAsGuest.All", "Calls.AccessMedia.All"])?;
    let body = request.json()?;
    let status = body["status"].as_str().unwrap_or_default().to_owned();
    let context = body["clientContext"].as_str().unwrap_or_default().to_owned();
    if !["recording", "notRecording", "failed"].contains(&status.as_str()) || context.chars().count() > 256 {
        return Err(Reply::error(400, "BadRequest", "status or clientContext is wrong."));
    }
    if tenant.gatherings[g].legs[l].stage != Stage::Established {
        return Err(Reply::error(400, "BadRequest", "The call is not established."));
    }
    let operation = tenant.guid();
    let mut shown = json!({
        "@odata.type": "#microsoft.graph.updateRecordingStatusOperation",
        "id": operation, "clientContext": context, "status": "completed", "resultInfo": null,
    });
    let id = tenant.gatherings[g].legs[l].id.clone();
    match tenant.options.recording {
        "running" => {
            let mut done = shown.clone();
            done["resultInfo"] = json!({
                "@odata.type": "#microsoft.graph.resultInfo", "code": 200, "subcode": 0, "message": "",
            });
            tenant.later(50, Timer::Recorded { call: id.clone(), operation: done });
            shown["status"] = json!("running");
        }
        "failed" => {
            shown["status"] = json!("failed");
            shown["resultInfo"] = json!({
                "@odata.type": "#microsoft.graph.resultInfo", "code": 500, "subcode": 7106, "message": "Recording cannot start.",
            });
        }
        _ => {}
    }
    if tenant.options.recording != "failed" {
        tenant.gatherings[g].legs[l].recording = status == "recording";
        let at = tenant.now_ms;
        if let Some(record) = tenant.record(&id) {
            record.recording.push((at, status.clone()));
        }
        tenant.tell(match status.as_str() {
            "recording" => "Everybody sees: this call is being recorded".to_owned(),
            _ => format!("The recorder says: {status}"),
        });
    }
    let location = format!("{}/v1.0/communications/calls/{id}/operations/{operation}", tenant.urls.base);
    Ok(Reply::json(200, &shown).with("location", location))
}
