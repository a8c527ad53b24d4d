//! The viewer of a running recorder, asked as a browser and as a script ask it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// Milliseconds since 1970 by this machine's clock, which is also the recorder's.
pub fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// What an observer saw first at what time, in milliseconds since 1970.
pub type Sightings = BTreeMap<u64, i64>;

#[derive(Clone)]
pub struct Viewer {
    base: String,
    client: reqwest::Client,
}

impl Viewer {
    /// The viewer at this address (`127.0.0.1:8080`).
    pub fn at(address: &str) -> Viewer {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
        Viewer { base: format!("http://{address}"), client }
    }

    /// The answer to a request, whatever it is.
    pub async fn ask(&self, path: &str) -> reqwest::Response {
        self.client.get(format!("{}{path}", self.base)).send().await.unwrap()
    }

    /// Status and body.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.ask(path).await;
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// The body of a page that must be there.
    pub async fn page(&self, path: &str) -> String {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// An answer of the API that must be there.
    pub async fn json(&self, path: &str) -> Value {
        let body = self.page(path).await;
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}\n{body}"))
    }

    /// The seqs of all hits, page by page, oldest first. `None` while there is no index that answers.
    pub async fn found(&self, query: &str) -> Option<Vec<u64>> {
        let mut seqs = Vec::new();
        let mut after = String::new();
        loop {
            let path = format!("/api/v1/search?q={query}&sort=oldest&limit=100{after}");
            let (status, body) = self.get(&path).await;
            if status == 503 {
                return None;
            }
            assert_eq!(status, 200, "{path}: {body}");
            let page: Value = serde_json::from_str(&body).unwrap();
            seqs.extend(page["hits"].as_array().unwrap().iter().map(|hit| hit["seq"].as_u64().unwrap()));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return Some(seqs),
            }
        }
    }

    /// Waits until a search finds this many.
    pub async fn until_found(&self, query: &str, count: usize, within: Duration) -> Vec<u64> {
        let deadline = Instant::now() + within;
        loop {
            let found = self.found(query).await;
            match found {
                Some(seqs) if seqs.len() >= count => return seqs,
                found => {
                    let got = found.map(|seqs| seqs.len());
                    assert!(Instant::now() < deadline, "{query} finds {got:?} of {count} after {within:?}");
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Looks again and again until all of `1..=count` were seen: `look` says which a body shows.
    pub async fn watch(&self, path: &str, count: u64, look: impl Fn(&str) -> Vec<u64>, within: Duration) -> Sightings {
        let deadline = Instant::now() + within;
        let mut seen = Sightings::new();
        while (seen.len() as u64) < count {
            let (status, body) = self.get(path).await;
            let now = now_ms();
            let shown = if status == 200 { look(&body) } else { Vec::new() };
            for n in shown {
                seen.entry(n).or_insert(now);
            }
            assert!(Instant::now() < deadline, "{path} showed {:?} of {count} within {within:?}", seen.keys());
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        seen
    }

    /// Listens to a live stream until all of `1..=count` were told: `look` says which one a line tells.
    pub async fn listen(
        &self,
        path: &str,
        count: u64,
        look: impl Fn(&str) -> Option<u64>,
        within: Duration,
    ) -> Sightings {
        let mut seen = Sightings::new();
        let mut text: Vec<u8> = Vec::new();
        let mut answer = self.ask(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        let reading = async {
            while (seen.len() as u64) < count {
                let Some(piece) = answer.chunk().await.unwrap() else { break };
                text.extend_from_slice(&piece);
                while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = text.drain(..=end).collect();
                    if let Some(n) = look(&String::from_utf8(line).unwrap()) {
                        seen.entry(n).or_insert_with(now_ms);
                    }
                }
            }
        };
        let done = tokio::time::timeout(within, reading).await;
        assert!(
            done.is_ok() && seen.len() as u64 == count,
            "{path} told {:?} of {count} within {within:?}",
            seen.keys()
        );
        seen
    }
}
