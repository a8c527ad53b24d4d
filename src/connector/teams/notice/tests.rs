use super::*;

fn sample(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/graph/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// One notice in a few words: `kind change call`.
fn said(notice: &CallNotice) -> String {
    let kind = match &notice.kind {
        NoticeKind::Sharing { session, bare } => format!("Sharing {session} {bare}"),
        NoticeKind::Operation { id } => format!("Operation {}", id.as_deref().unwrap_or("-")),
        other => format!("{other:?}"),
    };
    format!("{kind} {} {}", notice.change.as_str(), notice.call.as_ref().map_or("-", CallId::key))
}

#[test]
fn every_sample_of_a_call_notification_is_read_as_what_it_shows() {
    let table = [
        ("incoming-audio-video", "Incoming created 57dab8b1894c409ab240bd8beae78896"),
        ("incoming-p2p-callroutes", "Incoming created "),
        ("incoming-p2p-minimal", "Incoming created "),
        ("incoming-p2p-typed", "Incoming created "),
        ("incoming-policy-recording", "Incoming created e71f03009c1f4d99b5f42722e877d497"),
        ("incoming-pstn-appinstance", "Incoming created 491f0b00ffff4bc9a43eb226498ec22a"),
        ("established", "State updated 57dab8b1894c409ab240bd8beae78896"),
        ("established-tone", "Tone updated 57dab8b1894c409ab240bd8beae78896"),
        ("establishing", "State updated "),
        ("establishing-meeting", "State updated 2f1a1100b17440a0aba70b405e01ed92"),
        ("state-transferring", "State updated 341a0500d4bf42248b191581168d328b"),
        ("terminating", "State updated 57dab8b1894c409ab240bd8beae78896"),
        ("deleted-after-reject", "Ended deleted 57dab8b1894c409ab240bd8beae78896"),
        ("terminated-after-redirect", "Ended deleted "),
        ("terminated-answeredby-encrypted", "Ended deleted "),
        ("terminated-code-string", "Ended deleted 57dab8b1894c409ab240bd8beae78896"),
        ("terminated-server-error-qna", "Ended deleted b31f5e001104436796842605bedf588f"),
        (
            "contentsharing-collection-updated",
            "Sharing F7D9EF30FF0A9BD3F64B274387FB8FF8E96B6CFBA8F87F8305A74DE99AF007BC false updated ",
        ),
        (
            "contentsharing-collection-ended",
            "Sharing F7D9EF30FF0A9BD3F64B274387FB8FF8E96B6CFBA8F87F8305A74DE99AF007BC false deleted ",
        ),
        ("contentsharing-started-bare", "Sharing 2765eb15-01f8-47c6-b12b-c32111a4a86f true created 421f4c0044364c3a"),
        ("contentsharing-ended-bare", "Sharing 2765eb15-01f8-47c6-b12b-c32111a4a86f true deleted 421f4c0044364c3a"),
        ("operation-invite-completed", "Operation "),
        ("operation-playprompt-completed", "Operation 0FE0623FD62842EDB4BD8AC290072CC5 deleted 57dab8b1894c409ab240"),
        ("x-participantjoining", "Joining created e71f03009c1f4d99b5f42722e877d497"),
        ("x-participantleft", "Left deleted e71f03009c1f4d99b5f42722e877d497"),
        ("roster-full", "Roster(Full) updated 2f1a1100b17440a0aba70b405e01ed92"),
        ("roster-muted", "Roster(Full) updated "),
        ("roster-pstn", "Roster(Full) updated "),
        ("roster-screensharing", "Roster(Full) updated "),
        ("roster-delta-enabled", "Roster(Delta) updated 421f7700f4ad4ea9a3fcc1d2195675ad"),
    ];
    for (name, want) in table {
        let notices = read(&sample(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let [notice] = notices.as_slice() else { panic!("{name}: {} notices", notices.len()) };
        assert!(said(notice).starts_with(want), "{name}: {} is not {want}", said(notice));
    }
    // No sample of these kinds is missing from the table.
    let index = String::from_utf8(sample_index()).expect("utf-8");
    for line in index.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        if let [file, _, kind, "in", ..] = columns.as_slice()
            && (kind.starts_with("call.notification") || kind.starts_with("comms.notification"))
        {
            let name = file.trim_end_matches(".json");
            assert!(table.iter().any(|(known, _)| *known == name), "{name} is not in the table");
        }
    }
}

fn sample_index() -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/graph/INDEX.tsv", env!("CARGO_MANIFEST_DIR"))).expect("index")
}

#[test]
fn a_body_that_is_not_in_graphs_form_is_no_list() {
    for body in ["", "nonsense", "[]", "{}", r#"{"value":{}}"#, r#"{"callLeg":{},"value":[1]}"#, r#"{"value":[]}"#] {
        assert_eq!(read(body.as_bytes()), Err(NotGraph), "{body}");
    }
    assert_eq!(read(br##"{"@odata.type":"#microsoft.graph.commsNotifications","value":[]}"##), Ok(vec![]));
}

#[test]
fn types_may_lack_their_hash_or_be_missing_and_case_varies() {
    let body = br#"{"Value":[
        {"ChangeType":"Updated","ResourceUrl":"/communications/Calls/A-B","ResourceData":{"State":"Established"}},
        {"changeType":"updated","resource":"/app/calls/ab/participants","resourceData":[{"id":"p"}]},
        {"changeType":"updated","resource":"/app/calls/ab/participants","resourceData":[]},
        {"changeType":"updated","resource":"/app/calls/ab/participants"},
        {"changeType":"updated","resource":"/app/calls/ab/participants/p","resourceData":{"id":"p"}},
        {"changeType":"deleted","resourceUrl":"/communications/calls/ab/operations/o"},
        {"changeType":"deleted","resourceUrl":"/communications/calls/ab/audioRoutingGroups/g"},
        {"changeType":"deleted","resourceUrl":"/communications/calls/ab","resourceData":{"@odata.type":"microsoft.graph.call"}},
        17
    ]}"#;
    let kinds: Vec<NoticeKind> = read(body).expect("graph").into_iter().map(|notice| notice.kind).collect();
    assert_eq!(
        kinds,
        [
            NoticeKind::State,
            NoticeKind::Roster(RosterForm::Full),
            NoticeKind::Roster(RosterForm::Full),
            NoticeKind::Roster(RosterForm::Bare),
            NoticeKind::Roster(RosterForm::Delta),
            NoticeKind::Operation { id: Some("o".into()) },
            NoticeKind::Unknown,
            NoticeKind::Ended,
            NoticeKind::State,
        ]
    );
}

#[test]
fn call_ids_are_equal_without_regard_to_case_and_dashes() {
    let ids = ["57DAB8B1894C409AB240BD8BEAE78896", "57dab8b1-894c-409a-b240-bd8beae78896"].map(CallId::new);
    assert_eq!(ids[0], ids[1]);
    assert_eq!(ids[0].as_ref().map(CallId::as_str), Some("57DAB8B1894C409AB240BD8BEAE78896"));
    assert_eq!(CallId::new(" - "), None);
}

#[test]
fn a_list_of_sharing_sessions_is_a_notice_for_each() {
    let body = br#"{"value":[{"changeType":"created","resourceUrl":"/communications/calls/c/contentsharingsessions",
        "resourceData":[{"id":"a"},{"id":"b"}]}]}"#;
    let notices = read(body).expect("graph");
    assert_eq!(
        notices.iter().map(said).collect::<Vec<_>>(),
        ["Sharing a false created c", "Sharing b false created c"]
    );
}
