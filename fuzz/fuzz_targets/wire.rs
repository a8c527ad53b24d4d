//! Any body: no panic, and no event of a batch gets lost.
#![no_main]

use greffier_fuzz::connector::ucwa::wire::{Resource, parse_batch, parse_date, parse_error};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fn members(value: Option<&Value>) -> &[Value] {
    match value {
        Some(Value::Array(list)) => list,
        None | Some(Value::Null) => &[],
        Some(one) => std::slice::from_ref(one),
    }
}

fuzz_target!(|body: &[u8]| {
    let _ = parse_error(body);
    if let Ok(text) = std::str::from_utf8(body) {
        let _ = parse_date(text);
    }
    let (whole, batch) = (Resource::parse(body), parse_batch(body));
    assert_eq!(whole.is_ok(), batch.is_ok());
    let (Ok(whole), Ok(batch)) = (whole, batch) else { return };
    let value = whole.value();
    let sent: usize = members(value.get("sender"))
        .iter()
        .map(|sender| if sender.is_object() { members(sender.get("events")).len() } else { 1 })
        .sum();
    let kept: usize = batch.senders.iter().map(|sender| sender.events.len()).sum();
    assert_eq!(sent, kept + batch.odd.len());
    for event in batch.senders.iter().flat_map(|sender| &sender.events) {
        if let Some(resource) = &event.resource {
            let _ = (resource.rel(), resource.href(), resource.date("timeStamp"), resource.int("participantCount"));
            for rel in resource.link_rels() {
                let _ = (resource.link(&rel), resource.link_title(&rel), resource.links(&rel));
            }
            for rel in resource.embedded_rels() {
                let _ = (resource.embedded(&rel), resource.embedded_all(&rel));
            }
        }
    }
});
