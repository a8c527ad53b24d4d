use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::connector::ucwa::http::NetFailure;

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn trust(hosts: &[&str]) -> Trust {
    let hosts: Vec<String> = hosts.iter().map(|h| (*h).to_owned()).collect();
    Trust::new("contoso.com", Some(&url("http://127.0.0.1:8080/")), &hosts).unwrap()
}

fn discovery() -> Discovery {
    Discovery::new("Contoso.com", None, &trust(&["*.online.example"]))
}

fn status(status: u16, body: &str) -> Answer {
    Answer {
        status,
        www_authenticate: Vec::new(),
        diagnostics: None,
        retry_after: None,
        location: None,
        etag: None,
        content_type: None,
        server_date: None,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

fn links(list: &[(&str, &str)]) -> Result<Answer, CallFailure> {
    let links: serde_json::Map<String, serde_json::Value> =
        list.iter().map(|(rel, href)| ((*rel).to_owned(), serde_json::json!({"href": href}))).collect();
    Ok(status(200, &serde_json::json!({"_links": links}).to_string()))
}

fn sample(name: &str) -> Result<Answer, CallFailure> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ucwa").join(name);
    Ok(status(200, &std::fs::read_to_string(path).unwrap()))
}

#[track_caller]
fn expect_ask(d: &Discovery, target: &str, anonymous: bool) {
    assert_eq!(d.next(), Next::Ask { url: url(target), anonymous });
}

#[track_caller]
fn error(d: &Discovery) -> DiscoveryError {
    match d.next() {
        Next::Failed(error) => error,
        other => panic!("{other:?}"),
    }
}

const INTERNAL: &str = "https://lyncdiscoverinternal.contoso.com/";
const EXTERNAL: &str = "https://lyncdiscover.contoso.com/";

#[test]
fn internal_first_then_external_then_user_then_applications() {
    let mut d = discovery();
    expect_ask(&d, INTERNAL, true);
    d.answer(Err(CallFailure::Net(NetFailure::Connect)));
    expect_ask(&d, EXTERNAL, true);
    let user = "https://webdir.contoso.com/Autodiscover/oauth/user?originalDomain=contoso.com";
    d.answer(links(&[("self", EXTERNAL), ("user", user), ("xframe", "https://webdir.contoso.com/x")]));
    expect_ask(&d, user, false);
    d.answer(links(&[("applications", "https://pool.contoso.com/ucwa/oauth/v1/applications")]));
    let Next::Found { applications, trail } = d.next() else { panic!("{:?}", d.next()) };
    assert_eq!(applications.as_str(), "https://pool.contoso.com/ucwa/oauth/v1/applications");
    let what: Vec<_> = trail.iter().map(|hop| hop.what.as_str()).collect();
    assert_eq!(what[0], "no connection");
    assert!(what[1].contains(user) && what[2].contains("https://pool.contoso.com"), "{what:?}");
    d.answer(links(&[]));
    assert!(matches!(d.next(), Next::Found { .. }), "over is over");
}

#[test]
fn recorded_answers() {
    let mut d = discovery();
    d.answer(Ok(status(404, "<html>")));
    d.answer(sample("discovery-root-lyncdiscover.json"));
    let root = "https://lyncweb.contoso.com/Autodiscover/AutodiscoverService.svc/root";
    expect_ask(&d, &format!("{root}/oauth/user?originalDomain=contoso.com"), false);
    d.answer(sample("discovery-user-applications.json"));
    let Next::Found { applications, .. } = d.next() else { panic!("{:?}", d.next()) };
    assert_eq!(applications, url("https://lyncweb.contoso.com/ucwa/oauth/v1/applications"));
}

#[test]
fn everything_that_is_no_answer_moves_on_to_the_next_root() {
    let mut elsewhere = status(302, "");
    elsewhere.location = Some("https://portal.example/login".into());
    for (result, said) in [
        (Ok(status(404, "")), "404"),
        (Ok(status(503, "")), "503"),
        (Ok(status(200, "<html></html>")), "not from UCWA"),
        (links(&[("self", INTERNAL)]), "neither"),
        (Ok(elsewhere), "another domain"),
        (Ok(status(302, "")), "without a location"),
        (links(&[("redirect", "https://evil.example/")]), "not trusted"),
        (links(&[("redirect", "http://pool.contoso.com/")]), "not https"),
        (links(&[("user", "https://evil.example/user")]), "not trusted"),
        (links(&[("user", "data:,x")]), "cannot be used"),
        (Ok(status(401, "")), "401"),
        (Err(CallFailure::Net(NetFailure::Tls)), "TLS"),
    ] {
        let mut d = discovery();
        d.answer(result);
        expect_ask(&d, EXTERNAL, true);
        d.answer(Err(CallFailure::Net(NetFailure::Timeout)));
        let error = error(&d);
        let text = error.to_string();
        for part in ["contoso.com", INTERNAL, EXTERNAL, "no answer in time", said] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let remedy = if error.untrusted.is_empty() { "set `autodiscover`" } else { "`trusted_hosts`" };
        assert!(text.contains(remedy), "{text}");
    }
}

#[test]
fn redirects_by_link() {
    let mut d = discovery();
    // Both present: the redirect is followed.
    d.answer(links(&[("user", "https://a.contoso.com/user"), ("redirect", "https://b.online.example/root")]));
    expect_ask(&d, "https://b.online.example/root", true);
    d.answer(links(&[("user", "/oauth/user")]));
    expect_ask(&d, "https://b.online.example/oauth/user", false);
    // The user is homed elsewhere; a bare root without user link gets /oauth/user.
    d.answer(links(&[("redirect", "https://c.online.example/Autodiscover/root")]));
    expect_ask(&d, "https://c.online.example/Autodiscover/root", true);
    d.answer(links(&[("self", "/")]));
    expect_ask(&d, "https://c.online.example/Autodiscover/root/oauth/user", false);
    d.answer(links(&[("applications", "/apps")]));
    assert!(
        matches!(d.next(), Next::Found { applications, .. } if applications == url("https://c.online.example/apps"))
    );
}

#[test]
fn a_redirect_of_the_user_may_lead_to_a_user_resource() {
    let mut d = discovery();
    d.answer(links(&[("user", "https://a.contoso.com/user")]));
    d.answer(links(&[("redirect", "https://b.contoso.com/user?x=1")]));
    expect_ask(&d, "https://b.contoso.com/user?x=1", true);
    d.answer(Ok(status(401, "")));
    expect_ask(&d, "https://b.contoso.com/user?x=1", false);
}

#[test]
fn http_redirects_stay_in_the_domain() {
    let mut d = discovery();
    let mut moved = status(302, "");
    moved.location = Some("/Autodiscover/AutodiscoverService.svc/root".into());
    d.answer(Ok(moved.clone()));
    expect_ask(&d, &format!("{INTERNAL}Autodiscover/AutodiscoverService.svc/root"), true);
    moved.location = Some("https://web.contoso.com/root".into());
    d.answer(Ok(moved.clone()));
    expect_ask(&d, "https://web.contoso.com/root", true);
    moved.location = Some("https://c.online.example/root".into());
    d.answer(Ok(moved));
    expect_ask(&d, EXTERNAL, true);
}

#[test]
fn cycles_and_long_chains_end() {
    let mut d = Discovery::new("contoso.com", Some(url("https://a.contoso.com/0")), &trust(&[]));
    d.answer(links(&[("redirect", "/1")]));
    d.answer(links(&[("redirect", "/0")]));
    assert!(error(&d).to_string().contains("leads back"));
    let mut d = Discovery::new("contoso.com", Some(url("https://a.contoso.com/0")), &trust(&[]));
    for n in 1..=10 {
        d.answer(links(&[("redirect", &format!("/{n}"))]));
        expect_ask(&d, &format!("https://a.contoso.com/{n}"), true);
    }
    d.answer(links(&[("redirect", "/11")]));
    assert!(error(&d).to_string().contains("more than 10"));
}

#[test]
fn a_configured_root_is_the_only_one() {
    let mut d = Discovery::new("contoso.com", Some(url("http://127.0.0.1:8080/")), &trust(&[]));
    expect_ask(&d, "http://127.0.0.1:8080/", true);
    d.answer(links(&[("user", "/user")]));
    expect_ask(&d, "http://127.0.0.1:8080/user", false);
    d.answer(Ok(status(500, "")));
    assert_eq!(error(&d).trail.len(), 2);
    let d = Discovery::new("contoso.com", Some(url("http://pool.contoso.com/")), &trust(&[]));
    assert!(error(&d).to_string().contains("must be an https URL"));
}

#[test]
fn a_refused_sign_in_ends_the_search() {
    let mut d = discovery();
    d.answer(links(&[("user", "https://a.contoso.com/user")]));
    let wrong = SignInFailure::WrongCredentials { code: None };
    d.answer(Err(CallFailure::SignIn(wrong.clone())));
    let error = error(&d);
    assert_eq!(error.sign_in, Some(wrong));
    assert!(error.to_string().contains("password"), "{error}");
    assert_eq!(error.trail.len(), 2, "the other root is not asked");
}

proptest! {
    #[test]
    fn ends_and_never_asks_a_stranger(answers in proptest::collection::vec((0_u8..9, 0_usize..6, 0_usize..4), 0..60)) {
        let mut d = discovery();
        let mut asked = 0;
        for (how, host, path) in answers {
            let Next::Ask { url: target, .. } = d.next() else { break };
            asked += 1;
            prop_assert!(is_private(&target) && trust(&["*.online.example"]).knows(&target), "{target}");
            let hosts = ["https://a.contoso.com", "https://b.online.example", "https://evil.example",
                "http://a.contoso.com", "https://contoso.com.evil.example", ""];
            let href = format!("{}/{path}", hosts[host]);
            let mut moved = status(302, "");
            moved.location = Some(href.clone());
            d.answer(match how {
                0 => links(&[("redirect", &href)]),
                1 => links(&[("user", &href)]),
                2 => links(&[("user", "/u"), ("redirect", &href)]),
                3 => links(&[("applications", &href)]),
                4 => Ok(moved),
                5 => Ok(status(401, "")),
                6 => Ok(status(200, "<html>")),
                7 => links(&[]),
                _ => Err(CallFailure::Net(NetFailure::Broken)),
            });
        }
        prop_assert!(asked <= 2 * (MOST_HOPS + 1));
        if let Next::Found { applications, .. } = d.next() {
            prop_assert!(trust(&["*.online.example"]).may_receive_secrets(&applications));
        }
    }
}
