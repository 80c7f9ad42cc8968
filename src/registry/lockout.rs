//! Counts wrong passwords, and closes the door to a name that had too many.

use std::collections::HashMap;
use std::time::Duration;

use crate::model::Timestamp;

/// How many tries a name has within [`WINDOW`].
pub(super) const MAX_TRIES: usize = 10;

/// For how long a wrong try counts.
pub(super) const WINDOW: Duration = Duration::from_secs(15 * 60);

/// How many names are watched. Names that nobody has are watched too, else the lock would tell which exist;
/// when somebody makes up more, the one of them that rested longest is forgotten.
const MAX_NAMES: usize = 4096;

/// The recent tries of every name.
#[derive(Debug, Default)]
pub(super) struct Tries(HashMap<String, Recent>);

#[derive(Debug)]
struct Recent {
    /// The stored hash that the tries were against: a reset password opens the door again. `None` for a name
    /// that nobody has.
    against: Option<String>,
    /// At most [`MAX_TRIES`], oldest first.
    times: Vec<Timestamp>,
    /// Whether somebody was told that the door is closed.
    told: bool,
}

impl Recent {
    fn new(stored: Option<&str>) -> Self {
        Recent { against: stored.map(str::to_owned), times: Vec::new(), told: false }
    }
}

impl Tries {
    /// Counts a try before it is checked, so that tries at the same time count too; false when there were too
    /// many. `stored` is the user's password hash.
    pub(super) fn begin(&mut self, name: &str, stored: Option<&str>, now: Timestamp) -> bool {
        if !self.0.contains_key(name) {
            self.make_room();
        }
        let recent = self.0.entry(name.to_owned()).or_insert_with(|| Recent::new(stored));
        if recent.against.as_deref() != stored {
            *recent = Recent::new(stored);
        }
        recent.times.retain(|&time| now.since(time) < WINDOW);
        if recent.times.len() >= MAX_TRIES {
            return false;
        }
        recent.times.push(now);
        recent.told = false;
        true
    }

    /// Whether a name that nobody has had too many tries; counts none.
    pub(super) fn is_locked(&self, name: &str, now: Timestamp) -> bool {
        let is_recent = |&&time: &&Timestamp| now.since(time) < WINDOW;
        let recent = self.0.get(name).map(|recent| recent.times.iter().filter(is_recent).count());
        recent.is_some_and(|count| count >= MAX_TRIES)
    }

    /// Whether the name's refusal is the first since its last try, that is, whether it is news.
    pub(super) fn is_first_refusal(&mut self, name: &str) -> bool {
        self.0.get_mut(name).is_some_and(|recent| !std::mem::replace(&mut recent.told, true))
    }

    /// The last try was right: forget the name.
    pub(super) fn succeeded(&mut self, name: &str) {
        self.0.remove(name);
    }

    fn make_room(&mut self) {
        if self.0.len() < MAX_NAMES {
            return;
        }
        // Users are few and bounded; never forget the tries against one of them to make room for a made-up name.
        let made_up = self.0.iter().filter(|(_, recent)| recent.against.is_none());
        let longest_rested = made_up.min_by_key(|(_, recent)| recent.times.last().copied());
        if let Some(name) = longest_rested.map(|(name, _)| name.clone()) {
            self.0.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp::from_secs(1_790_000_000);

    #[test]
    fn the_eleventh_try_in_the_window_is_refused_and_the_window_slides() {
        let mut tries = Tries::default();
        for second in 0..10 {
            assert!(tries.begin("admin", Some("h"), T.plus(Duration::from_secs(second))));
        }
        assert!(!tries.begin("admin", Some("h"), T.plus(Duration::from_secs(10))));
        assert!(tries.begin("other", Some("h"), T), "another name has its own tries");
        let last = T.plus(WINDOW).minus(Duration::from_micros(1));
        assert!(!tries.begin("admin", Some("h"), last));
        assert!(
            tries.begin("admin", Some("h"), T.plus(WINDOW)),
            "the first try is out of the window"
        );
        assert!(!tries.begin("admin", Some("h"), T.plus(WINDOW)), "the others are not");
    }

    #[test]
    fn a_right_try_or_a_new_password_starts_anew() {
        let mut tries = Tries::default();
        let mut use_up = |hash| {
            while tries.begin("admin", Some(hash), T) {}
            assert!(!tries.begin("admin", Some(hash), T));
        };
        use_up("h");
        use_up("reset");
        tries.succeeded("admin");
        assert!(tries.begin("admin", Some("reset"), T));
    }

    #[test]
    fn made_up_names_do_not_wash_away_a_user_and_stay_bounded() {
        let mut tries = Tries::default();
        while tries.begin("admin", Some("h"), T) {}
        for n in 0..2 * MAX_NAMES as u64 {
            assert!(tries.begin(&n.to_string(), None, T.plus(Duration::from_micros(n))));
        }
        assert_eq!(tries.0.len(), MAX_NAMES);
        assert!(!tries.begin("admin", Some("h"), T));
    }
}
