//! Any query and any text: no panic, errors inside the text, a printed query is the same query, tokens inside the text.
#![no_main]

use greffier_fuzz::index::analysis::{LONGEST, tokens};
use greffier_fuzz::index::query::{Calendar, parse};
use greffier_fuzz::model::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let calendar = Calendar { now: Timestamp(1_763_640_000_000_000), zone: chrono_tz::Europe::Berlin };
    match parse(input, &calendar) {
        Ok(query) => {
            let printed = query.to_string();
            assert_eq!(parse(&printed, &calendar).as_ref(), Ok(&query), "printed: {printed}");
        }
        Err(error) => {
            assert!(input.get(error.at.clone()).is_some(), "{error:?}");
            assert_eq!(error.at_character, input[..error.at.start].chars().count() + 1);
        }
    }
    let mut position = 0;
    tokens(input, &mut |token| {
        assert!(token.position >= position && !token.text.is_empty() && token.text.len() <= LONGEST + 2, "{token:?}");
        assert!(token.from < token.to && input.get(token.from..token.to).is_some(), "{token:?}");
        position = token.position;
    });
});
