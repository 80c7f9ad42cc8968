//! How a link stands.

use std::time::Duration;

use crate::model::Timestamp;

/// Whether there is a connection, since when, and why not.
#[derive(Debug)]
pub struct Standing {
    link: Link,
    since: Timestamp,
}

#[derive(Debug, PartialEq, Eq)]
enum Link {
    /// Not tried yet.
    Unknown,
    Up,
    Away(String),
}

impl Standing {
    /// Not tried yet.
    pub fn new(now: Timestamp) -> Self {
        Standing { link: Link::Unknown, since: now }
    }

    /// There is a connection. Returns how long there was none, if that was told.
    pub fn up(&mut self, now: Timestamp) -> Option<Duration> {
        let away = now.since(self.since);
        self.since = now;
        matches!(std::mem::replace(&mut self.link, Link::Up), Link::Away(_)).then_some(away)
    }

    /// There is none. Returns whether that is new: an outage, or another cause of it.
    pub fn away(&mut self, now: Timestamp, why: &str) -> bool {
        if !matches!(self.link, Link::Away(_)) {
            self.since = now;
        }
        let link = Link::Away(why.to_owned());
        let is_new = self.link != link;
        self.link = link;
        is_new
    }

    /// Whether there is a connection.
    pub fn is_up(&self) -> bool {
        self.link == Link::Up
    }

    /// Since when there is one, or is none.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// Why there is none, once it was tried.
    pub fn cause(&self) -> Option<&str> {
        match &self.link {
            Link::Away(why) => Some(why),
            Link::Unknown | Link::Up => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_new_once_for_each_cause() {
        let at = Timestamp::from_secs;
        let mut standing = Standing::new(at(1));
        assert_eq!((standing.is_up(), standing.cause()), (false, None));
        assert_eq!(standing.up(at(2)), None, "no outage was told");
        assert!(standing.away(at(3), "refused"));
        assert!(!standing.away(at(4), "refused"));
        assert!(standing.away(at(5), "timeout"));
        assert_eq!((standing.cause(), standing.since()), (Some("timeout"), at(3)));
        assert_eq!(standing.up(at(9)), Some(Duration::from_secs(6)));
        assert_eq!((standing.is_up(), standing.since()), (true, at(9)));
    }
}
