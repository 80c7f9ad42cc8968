//! Who subscribes to what: filters as a tree of their levels, so that a message meets only the filters that it matches.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::topics;

/// A session's number.
pub(super) type SessionId = u64;

/// The deepest filter. Searching goes as deep as the deepest filter, by recursion.
pub(super) const MAX_LEVELS: usize = 64;

/// What a subscription asks for (MQTT 5, section 3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Options {
    pub(super) qos: u8,
    pub(super) no_local: bool,
    pub(super) retain_as_published: bool,
    pub(super) identifier: Option<u32>,
}

/// All subscriptions.
#[derive(Debug, Default)]
pub(super) struct Trie(Node);

#[derive(Debug, Default)]
struct Node {
    /// By level; `+` and `#` are levels too.
    children: HashMap<Box<str>, Node>,
    plain: Vec<(SessionId, Options)>,
    shared: Vec<Group>,
}

/// The members of one shared subscription.
#[derive(Debug)]
struct Group {
    /// The filter as its members write it, with the share's name.
    path: Arc<str>,
    members: Vec<(SessionId, Options)>,
    /// Whose turn it is.
    next: usize,
}

/// A subscription that a message matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) session: SessionId,
    pub(super) options: Options,
    /// The group that it was chosen of: then it is delivered by itself.
    pub(super) share: Option<Arc<str>>,
}

impl Trie {
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a subscription to a filter as it is written, or replaces it [MQTT-3.8.4-3].
    pub(super) fn insert(&mut self, path: &str, session: SessionId, options: Options) {
        let (share, filter) = topics::share(path);
        let mut node = &mut self.0;
        for level in filter.split('/') {
            node = node.children.entry(level.into()).or_default();
        }
        let members = match share {
            None => &mut node.plain,
            Some(_) => node.group(path),
        };
        match members.iter_mut().find(|(member, _)| *member == session) {
            Some((_, known)) => *known = options,
            None => members.push((session, options)),
        }
    }

    /// Takes a subscription away, and the branch that it alone held.
    pub(super) fn remove(&mut self, path: &str, session: SessionId) {
        let (share, filter) = topics::share(path);
        let levels: Vec<_> = filter.split('/').collect();
        self.0.remove(&levels, share.map(|_| path), session);
    }

    /// The member of a group whose turn it is, if there is one.
    pub(super) fn choose(
        &mut self,
        path: &str,
        is_up: impl Fn(SessionId) -> bool,
    ) -> Option<Match> {
        let (_, filter) = topics::share(path);
        let mut node = &mut self.0;
        for level in filter.split('/') {
            node = node.children.get_mut(level)?;
        }
        node.shared.iter_mut().find(|group| &*group.path == path).map(|group| group.choose(is_up))
    }

    /// Every subscription that `topic` matches; of each group one member, in turn, preferably one that `is_up`.
    pub(super) fn matches(
        &mut self,
        topic: &str,
        is_up: impl Fn(SessionId) -> bool,
        found: &mut Vec<Match>,
    ) {
        let levels: Vec<_> = topic.split('/').collect();
        self.0.visit(&levels, true, &mut |node| {
            let plain = node.plain.iter();
            found.extend(plain.map(|&(session, options)| Match { session, options, share: None }));
            found.extend(node.shared.iter_mut().map(|group| group.choose(&is_up)));
        });
    }
}

impl Node {
    fn group(&mut self, path: &str) -> &mut Vec<(SessionId, Options)> {
        let place = match self.shared.iter().position(|group| &*group.path == path) {
            Some(place) => place,
            None => {
                self.shared.push(Group { path: path.into(), members: Vec::new(), next: 0 });
                self.shared.len() - 1
            }
        };
        &mut self.shared[place].members
    }

    fn remove(&mut self, levels: &[&str], share: Option<&str>, session: SessionId) {
        let Some((level, rest)) = levels.split_first() else {
            match share {
                None => self.plain.retain(|(member, _)| *member != session),
                Some(path) => {
                    self.group(path).retain(|(member, _)| *member != session);
                    self.shared.retain(|group| !group.members.is_empty());
                }
            }
            return;
        };
        if let Some(child) = self.children.get_mut(*level) {
            child.remove(rest, share, session);
            if child.is_empty() {
                self.children.remove(*level);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.plain.is_empty() && self.shared.is_empty()
    }

    fn visit(&mut self, levels: &[&str], is_root: bool, found: &mut impl FnMut(&mut Node)) {
        // A wildcard at the root does not match topics that begin with $ [MQTT-4.7.2-1].
        let is_hidden = is_root && levels.first().is_some_and(|level| level.starts_with('$'));
        if !is_hidden && let Some(rest) = self.children.get_mut("#") {
            found(rest);
        }
        let Some((level, below)) = levels.split_first() else { return found(self) };
        if let Some(child) = self.children.get_mut(*level) {
            child.visit(below, false, found);
        }
        if !is_hidden && let Some(child) = self.children.get_mut("+") {
            child.visit(below, false, found);
        }
    }
}

impl Group {
    /// The member whose turn it is; who is away only if all are.
    fn choose(&mut self, is_up: impl Fn(SessionId) -> bool) -> Match {
        let count = self.members.len();
        let in_turn = (0..count).map(|step| (self.next + step) % count);
        let up = in_turn.clone().find(|&place| is_up(self.members[place].0));
        let place = up.unwrap_or(self.next % count);
        self.next = place + 1;
        let (session, options) = self.members[place];
        Match { session, options, share: Some(Arc::clone(&self.path)) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: Options =
        Options { qos: 0, no_local: false, retain_as_published: false, identifier: None };

    fn found(trie: &mut Trie, topic: &str) -> Vec<SessionId> {
        let mut matches = Vec::new();
        trie.matches(topic, |session| session < 100, &mut matches);
        let mut sessions: Vec<_> = matches.iter().map(|m| m.session).collect();
        sessions.sort_unstable();
        sessions
    }

    #[test]
    fn a_group_takes_turns_and_prefers_who_is_there() {
        let mut trie = Trie::default();
        for session in [1, 2, 100] {
            trie.insert("$share/g/a/+", session, PLAIN);
        }
        let turns: Vec<_> = (0..4).flat_map(|_| found(&mut trie, "a/b")).collect();
        assert_eq!(turns, [1, 2, 1, 2]);
        trie.remove("$share/g/a/+", 1);
        trie.remove("$share/g/a/+", 2);
        assert_eq!(found(&mut trie, "a/b"), [100], "nobody else is left");
        trie.remove("$share/g/a/+", 100);
        assert!(trie.0.is_empty());
    }

    proptest! {
        #[test]
        fn the_tree_finds_what_the_rule_says(
            filters in proptest::collection::vec("[ab+$]{0,2}(/[ab+]?){0,3}(/#)?", 1..12),
            topic in "[ab$]{0,2}(/[ab]?){0,4}",
        ) {
            let mut trie = Trie::default();
            let filters: Vec<_> = filters.into_iter().filter(|f| topics::is_filter(f)).collect();
            for (session, filter) in filters.iter().enumerate() {
                trie.insert(filter, session as SessionId, PLAIN);
            }
            let by_rule = filters.iter().enumerate().filter(|(_, f)| topics::matches(f, &topic));
            let by_rule: Vec<_> = by_rule.map(|(session, _)| session as SessionId).collect();
            prop_assert_eq!(found(&mut trie, &topic), by_rule);
            for (session, filter) in filters.iter().enumerate() {
                trie.remove(filter, session as SessionId);
            }
            prop_assert!(trie.0.is_empty());
        }
    }
}
