//! Pages, totals, facets, and the same as a naive search.

use std::collections::{BTreeMap, BTreeSet};

use greffier::archive::Reader;
use greffier::index::analysis;
use greffier::index::query::{Filter, Node, Query, Words};
use greffier::index::{Index, Indexer, Request, Scope, Sort};
use greffier::model::{Event, Kind, Timestamp};
use proptest::prelude::*;

use crate::support::*;

const WORDS: [&str; 8] = ["alpha", "beta", "gamma", "delta", "über", "会议", "ABC-12", "e@x.org"];
const PEOPLE: [&str; 4] = ["Alice", "Bob", "Carol", "Dan"];

/// So many messages whose words, people, conversations and times are mixed; times are not in order of capture.
fn messages(seed: u64, count: usize) -> Vec<greffier::capture::Captured> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count)
        .map(|n| {
            let words = random.usize(1..6);
            let text = (0..words).map(|_| WORDS[random.usize(..WORDS.len())]).collect::<Vec<_>>().join(" ");
            let late = if random.u8(..) < 20 { random.i64(0..5_000_000) } else { 0 };
            let c = 1 + u8::try_from(random.usize(..5)).unwrap();
            let mut said = says(c, PEOPLE[random.usize(..PEOPLE.len())], &text, n as i64 * 3_600 - late);
            said.content.message.as_mut().unwrap().id = format!("{seed}-{n}");
            said
        })
        .collect()
}

/// All pages of a query.
fn pages(index: &Index, reader: &Reader, query: &Query, sort: Sort, limit: usize) -> (Vec<Event>, Vec<u64>) {
    let (mut events, mut totals, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let answer = index.search(reader, &Request { query, sort, limit, after, facets: false }).unwrap();
        assert!(answer.hits.len() <= limit);
        totals.push(answer.total);
        events.extend(answer.hits.into_iter().map(|hit| hit.event));
        match answer.next {
            Some(next) => after = Some(next.to_string().parse().unwrap()),
            None => return (events, totals),
        }
    }
}

fn time(event: &Event) -> Timestamp {
    event.source_time.unwrap_or(event.recorded_at)
}

#[tokio::test]
async fn pages_together_are_all_hits_exactly_once_while_the_log_grows() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    put(&archive, messages(1, 400)).await;
    let indexer = Indexer::start(archive.layout(), archive.subscribe());
    let index = indexer.index();
    reaches(&index, 400).await;
    let reader = archive.reader().unwrap();
    let mut size = 400;
    for text in ["alpha", "alpha beta", "alpha OR beta OR gamma", "alp*", "\"alpha beta\"", "from:alice", "*", "-alpha"]
    {
        let query = asks(text);
        for sort in [Sort::Relevance, Sort::Newest, Sort::Oldest] {
            let expected = found(&index, &reader, text);
            let (mut after, mut seen) = (None, Vec::new());
            loop {
                let request = Request { query: &query, sort, limit: expected.len() / 4 + 1, after, facets: false };
                let answer = index.search(&reader, &request).unwrap();
                assert_eq!(answer.total, expected.len() as u64, "{text} {sort:?}");
                seen.extend(answer.hits.iter().map(|hit| (time(&hit.event), hit.event.seq.0, hit.score)));
                // More of the same comes between pages.
                if seen.len() * 2 <= expected.len() {
                    put(&archive, messages(size, 3)).await;
                    size += 3;
                    reaches(&index, size).await;
                }
                match answer.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            let once: BTreeSet<u64> = seen.iter().map(|hit| hit.1).collect();
            assert_eq!(once.len(), seen.len(), "{text} {sort:?}: a hit came twice");
            assert!(once.iter().eq(expected.iter()), "{text} {sort:?}");
            let in_order = seen.windows(2).all(|two| match sort {
                Sort::Relevance => (two[0].2, two[0].1) > (two[1].2, two[1].1),
                Sort::Newest => (two[0].0, two[0].1) > (two[1].0, two[1].1),
                Sort::Oldest => (two[0].0, two[0].1) < (two[1].0, two[1].1),
            });
            assert!(in_order, "{text} {sort:?}");
        }
    }
    indexer.stop().await;
    archive.close().await.unwrap();
}

#[tokio::test]
async fn facets_are_what_counting_gives() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    put(&archive, messages(7, 700)).await;
    put(&archive, vec![has_subject(1, Kind::ConversationChanged, "Budget", 0), joins(2, "Alice", 1)]).await;
    archive.close().await.unwrap();
    let index = ready(dir.path());
    let reader = Reader::open(dir.path()).unwrap();
    for text in ["alpha", "alpha OR beta", "alp*", "kind:message beta", "*", "from:bob"] {
        let query = asks(text);
        let request = Request { query: &query, sort: Sort::Newest, limit: 1_000, after: None, facets: true };
        let answer = index.search(&reader, &request).unwrap();
        let facets = answer.facets.unwrap();
        let count = |of: &dyn Fn(&Event) -> Option<String>| {
            let mut counts: BTreeMap<String, u64> = BTreeMap::new();
            answer
                .hits
                .iter()
                .filter_map(|hit| of(&hit.event))
                .for_each(|value| *counts.entry(value).or_default() += 1);
            counts
        };
        let told = |facets: &[greffier::index::FacetCount]| -> BTreeMap<String, u64> {
            facets.iter().map(|facet| (facet.value.clone(), facet.count)).collect()
        };
        let sender = |event: &Event| {
            let actor = event.content.actor.as_ref().map(|who| who.id.clone());
            actor.or(event.content.participant.as_ref().map(|who| who.id.clone()))
        };
        assert_eq!(told(&facets.senders), count(&sender), "{text}");
        assert_eq!(told(&facets.conversations), count(&|event| event.conversation.as_ref().map(ToString::to_string)));
        assert_eq!(told(&facets.platforms), count(&|event| Some(event.platform.clone())), "{text}");
        assert_eq!(told(&facets.months), count(&|event| Some(time(event).rfc3339()[..7].to_owned())), "{text}");
        let falling =
            |facets: &[greffier::index::FacetCount]| facets.windows(2).all(|two| two[0].count >= two[1].count);
        assert!(falling(&facets.senders) && falling(&facets.conversations), "{text}");
        let budget = facets.conversations.iter().find(|facet| facet.value == conversation(1).to_string());
        assert!(budget.is_none_or(|facet| facet.label == "Budget"));
        assert!(facets.senders.iter().all(|facet| facet.label.ends_with(" Weber")), "{:?}", facets.senders);
    }
}

#[tokio::test]
async fn scope_and_matches_keep_within_their_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    put(&archive, messages(3, 500)).await;
    archive.close().await.unwrap();
    let index = ready(dir.path());
    let reader = Reader::open(dir.path()).unwrap();
    let all: Vec<Event> = reader.events(greffier::model::Seq(1), 1_000).unwrap();
    let day = |n: i64| Timestamp(T0 + n * 86_400_000_000);
    let scopes = [
        Scope::default(),
        Scope { conversations: vec![conversation(1)], ..Scope::default() },
        Scope { conversations: vec![conversation(1), conversation(4)], ..Scope::default() },
        Scope { since: Some(day(3)), until: Some(day(9)), ..Scope::default() },
        Scope { conversations: vec![conversation(2)], since: Some(day(3)), until: None },
    ];
    for scope in scopes {
        for text in ["alpha", "*", "alpha OR gamma"] {
            let query = asks(text);
            let whole: BTreeSet<u64> =
                index.matches(&query, &Scope::default()).unwrap().map(|s| s.unwrap().0).collect();
            let within = |event: &&Event| {
                let conversation = event.conversation.as_ref().unwrap();
                (scope.conversations.is_empty() || scope.conversations.contains(conversation))
                    && scope.since.is_none_or(|since| time(event) >= since)
                    && scope.until.is_none_or(|until| time(event) < until)
            };
            let expected: Vec<u64> =
                all.iter().filter(within).map(|event| event.seq.0).filter(|seq| whole.contains(seq)).collect();
            let matches: Vec<u64> = index.matches(&query, &scope).unwrap().map(|seq| seq.unwrap().0).collect();
            assert_eq!(matches, expected, "{text} {scope:?}");
            let answer = index.search_within(&reader, &request(&query, Sort::Oldest), &scope).unwrap();
            assert_eq!(answer.total, expected.len() as u64, "{text} {scope:?}");
        }
    }
}

/// A query as a tree over what [`messages`] says.
fn tree() -> impl Strategy<Value = Node> {
    let word = proptest::sample::select(&WORDS[..]);
    let words = prop_oneof![
        4 => word.clone().prop_map(|word| Words::Word(word.to_owned())),
        2 => (word.clone(), word.clone()).prop_map(|(a, b)| Words::Phrase(format!("{a} {b}"))),
        2 => (word, 1_usize..3).prop_map(|(word, n)| Words::Prefix(word.chars().take(n).collect())),
        1 => Just(Words::Word("议".to_owned())),
    ];
    let hours = (-1_000_i64..1_000, 0_i64..1_500);
    let filter = prop_oneof![
        proptest::sample::select(&PEOPLE[..]).prop_map(|who| Filter::From(Words::Word(who.to_lowercase()))),
        (1_u8..7).prop_map(|c| Filter::Conversation(conversation(c))),
        hours.prop_map(|(from, long)| Filter::Time {
            since: Some(Timestamp(T0 + from * 3_600_000_000)),
            until: Some(Timestamp(T0 + (from + long) * 3_600_000_000)),
        }),
    ];
    let leaf = prop_oneof![5 => words.prop_map(Node::Words), 2 => filter.prop_map(Node::Filter), 1 => Just(Node::All)];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            3 => proptest::collection::vec(inner.clone(), 1..4).prop_map(Node::And),
            2 => proptest::collection::vec(inner.clone(), 1..4).prop_map(Node::Or),
            1 => inner.prop_map(|node| Node::Not(Box::new(node))),
        ]
    })
}

/// What a query means, without an index.
fn naive(node: &Node, event: &Event) -> bool {
    match node {
        Node::All => true,
        Node::And(nodes) => nodes.iter().all(|node| naive(node, event)),
        Node::Or(nodes) => nodes.iter().any(|node| naive(node, event)),
        Node::Not(node) => !naive(node, event),
        Node::Words(words) => says_so(words, &event.content.message.as_ref().unwrap().text),
        Node::Filter(Filter::From(words)) => {
            let actor = event.content.actor.as_ref().unwrap();
            says_so(words, &actor.id) || says_so(words, actor.name.as_deref().unwrap_or_default())
        }
        Node::Filter(Filter::Conversation(id)) => event.conversation.as_ref() == Some(id),
        Node::Filter(Filter::Time { since, until }) => {
            since.is_none_or(|since| time(event) >= since) && until.is_none_or(|until| time(event) < until)
        }
        Node::Filter(other) => panic!("{other:?} is not made here"),
    }
}

/// Whether the tokens of a text are met by the words, slot by slot.
fn says_so(words: &Words, text: &str) -> bool {
    let slots = analysis::pattern(words).slots;
    let mut tokens: Vec<(String, u32)> = Vec::new();
    analysis::tokens(text, &mut |token| tokens.push((token.text.to_owned(), token.position)));
    tokens.iter().filter(|(text, _)| slots[0].takes(text)).any(|(_, base)| {
        slots.iter().all(|slot| {
            let place = base + slot.at - slots[0].at;
            tokens.iter().any(|(text, at)| *at == place && slot.takes(text))
        })
    })
}

#[test]
fn any_query_finds_what_a_naive_search_finds_in_any_order() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let archive = open(dir.path());
        // Several commits, so that there are several segments.
        for part in 0..4 {
            put(&archive, messages(part, 120)).await;
            ready(dir.path());
        }
        archive.close().await.unwrap();
    });
    let index = ready(dir.path());
    let reader = Reader::open(dir.path()).unwrap();
    let all: Vec<Event> = reader.events(greffier::model::Seq(1), 1_000).unwrap();
    assert_eq!(all.len(), 480);
    let cases = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(cases, |(root in tree(), limit in 30_usize..250)| {
        let query = Query { root };
        let mut expected: Vec<&Event> = all.iter().filter(|event| naive(&query.root, event)).collect();
        for sort in [Sort::Relevance, Sort::Newest, Sort::Oldest] {
            let (events, totals) = pages(&index, &reader, &query, sort, limit);
            prop_assert!(totals.iter().all(|total| *total == expected.len() as u64), "{:?} of {}", totals, expected.len());
            match sort {
                Sort::Relevance => {
                    let mut seqs: Vec<u64> = events.iter().map(|event| event.seq.0).collect();
                    seqs.sort_unstable();
                    prop_assert!(seqs.into_iter().eq(expected.iter().map(|event| event.seq.0)));
                }
                Sort::Newest => {
                    expected.sort_by_key(|event| std::cmp::Reverse((time(event), event.seq)));
                    prop_assert!(events.iter().eq(expected.iter().copied()));
                    expected.sort_by_key(|event| event.seq);
                }
                Sort::Oldest => {
                    expected.sort_by_key(|event| (time(event), event.seq));
                    prop_assert!(events.iter().eq(expected.iter().copied()));
                    expected.sort_by_key(|event| event.seq);
                }
            }
        }
    });
}

#[tokio::test]
async fn what_is_skipped_while_ranking_is_never_among_the_best() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    let mut random = fastrand::Rng::with_seed(11);
    let mut said = Vec::new();
    for n in 0..6_000 {
        // Lengths and repetitions of all kinds, so that blocks differ in what is best in them.
        let length = if random.u8(..) < 30 { random.usize(40..400) } else { random.usize(1..15) };
        let word = |random: &mut fastrand::Rng| match random.u8(..10) {
            0..3 => "alpha",
            3..5 => "beta",
            5 => "gamma",
            _ => "filler",
        };
        let text = (0..length).map(|_| word(&mut random)).collect::<Vec<_>>().join(" ");
        said.push(says(1, "Alice", &text, n));
    }
    // Much that says nothing makes the average length of the segments another.
    said.extend((0..4_000).map(|n| joins(1, "Bob", n)));
    random.shuffle(&mut said);
    for some in said.chunks(2_000) {
        put(&archive, some.to_vec()).await;
        ready(dir.path());
    }
    archive.close().await.unwrap();
    let index = ready(dir.path());
    let reader = Reader::open(dir.path()).unwrap();
    for text in ["alpha", "gamma", "alpha beta", "alpha gamma beta", "gamma from:alice", "alpha from:alice beta"] {
        let query = asks(text);
        let page = |limit, after| {
            let request = Request { query: &query, sort: Sort::Relevance, limit, after, facets: false };
            index.search(&reader, &request).unwrap()
        };
        let whole: Vec<(f32, u64)> = page(1_000, None).hits.iter().map(|hit| (hit.score, hit.event.seq.0)).collect();
        assert!(whole.windows(2).all(|two| two[0] > two[1]), "{text}");
        let (mut after, mut little) = (None, Vec::new());
        while little.len() < 300 {
            let answer = page(3, after);
            little.extend(answer.hits.iter().map(|hit| (hit.score, hit.event.seq.0)));
            after = Some(answer.next.unwrap());
        }
        assert_eq!(little, whole[..little.len()], "{text}");
        // And every hit is in the order somewhere.
        let (all, totals) = pages(&index, &reader, &query, Sort::Relevance, 1_000);
        let mut seqs: Vec<u64> = all.iter().map(|event| event.seq.0).collect();
        seqs.sort_unstable();
        assert_eq!(seqs, found(&index, &reader, text), "{text}");
        assert!(totals.iter().all(|total| *total == seqs.len() as u64), "{text}");
    }
}
