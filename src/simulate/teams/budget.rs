//! Budgets of requests (digest §18): so many a second by kind of request and by single chat, team or call.

use std::collections::{HashMap, VecDeque};

/// Which budgets a request draws on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Budget {
    /// GET of messages of chats: 20 a second.
    ChatMessages,
    /// GET of messages of channels: 20 a second.
    ChannelMessages,
    /// Export: 200 a second.
    Export,
    /// Any other GET: 30 a second.
    OtherGet,
    /// Anything else: 30 a second.
    Other,
    /// One chat, team or channel: 4 a second.
    One(String),
}

impl Budget {
    fn per_second(&self) -> usize {
        match self {
            Budget::ChatMessages | Budget::ChannelMessages => 20,
            Budget::Export => 200,
            Budget::OtherGet | Budget::Other => 30,
            Budget::One(_) => 4,
        }
    }
}

/// What was drawn in the last second. One request above the figure is let pass: the network bunches requests that were
/// sent at the right pace.
#[derive(Debug, Default)]
pub(super) struct Budgets {
    enforced: bool,
    drawn: HashMap<Budget, VecDeque<u64>>,
}

impl Budgets {
    pub fn new(enforced: bool) -> Self {
        Budgets { enforced, drawn: HashMap::new() }
    }

    /// Draws on every budget. `Err`: one is spent; milliseconds until it is not.
    pub fn draw(&mut self, budgets: &[Budget], now_ms: u64) -> Result<(), u64> {
        if !self.enforced {
            return Ok(());
        }
        for budget in budgets {
            let drawn = self.drawn.entry(budget.clone()).or_default();
            while drawn.front().is_some_and(|t| t + 1000 <= now_ms) {
                drawn.pop_front();
            }
            if drawn.len() > budget.per_second() {
                return Err(drawn.front().map_or(1000, |t| (t + 1000).saturating_sub(now_ms)).max(1));
            }
        }
        for budget in budgets {
            self.drawn.entry(budget.clone()).or_default().push_back(now_ms);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_request_for_one_chat_within_a_second_is_refused_until_the_first_is_a_second_old() {
        let mut budgets = Budgets::new(true);
        let one = [Budget::One("chat".to_owned()), Budget::ChatMessages];
        for n in 0..5 {
            assert_eq!(budgets.draw(&one, n * 10), Ok(()));
        }
        assert_eq!(budgets.draw(&one, 100), Err(900));
        assert_eq!(budgets.draw(&[Budget::One("other".to_owned())], 100), Ok(()));
        assert_eq!(budgets.draw(&one, 1000), Ok(()));
    }
}
