//! Who is connected, and what devices say that wait for approval. Shared with the API, which may end a session.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::refusal::Refusal;
use crate::model::{DeviceId, Timestamp};

/// How many payloads of a waiting device are kept, and how much of each: enough to see what it is. With at most
/// a thousand that wait this is 3 MB.
const LOOKS_KEPT: usize = 4;
const LOOK_BYTES: usize = 512;
const TOPIC_BYTES: usize = 256;

/// What a waiting device published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// When it came.
    pub received_at: Timestamp,
    /// Its topic, as far as it is text.
    pub topic: String,
    /// The payload's first bytes.
    pub payload: Vec<u8>,
    /// How long it was.
    pub size: usize,
}

/// Knows who is connected: a client has one connection, and the newest wins.
#[derive(Debug, Default)]
pub struct Doorman {
    sessions: Mutex<Sessions>,
    looks: Mutex<HashMap<DeviceId, VecDeque<Look>>>,
}

#[derive(Debug, Default)]
struct Sessions {
    next: u64,
    /// Each with the way to end it, until somebody took it.
    by_client: HashMap<String, (u64, Option<oneshot::Sender<Refusal>>)>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these mutexes guard is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Doorman {
    /// How many clients are connected.
    pub fn connections(&self) -> usize {
        locked(&self.sessions).by_client.len()
    }

    /// Whether this device (or service and client) has a connection.
    pub fn is_connected(&self, client: &str) -> bool {
        locked(&self.sessions).by_client.contains_key(client)
    }

    /// Ends a device's session; false when it has none.
    pub fn disconnect(&self, device: &str) -> bool {
        let mut sessions = locked(&self.sessions);
        let kick = sessions.by_client.get_mut(device).and_then(|(_, kick)| kick.take());
        kick.is_some_and(|kick| kick.send(Refusal::Administrative).is_ok())
    }

    /// What a waiting device last published, newest first.
    pub fn looks(&self, device: &DeviceId) -> Vec<Look> {
        locked(&self.looks)
            .get(device)
            .map_or_else(Vec::new, |looks| looks.iter().cloned().collect())
    }

    /// Forgets what a device published while it waited.
    pub fn forget(&self, device: &str) {
        locked(&self.looks).remove(device);
    }

    pub(super) fn look(&self, device: &DeviceId, topic: &[u8], payload: &[u8], at: Timestamp) {
        let look = Look {
            received_at: at,
            topic: String::from_utf8_lossy(&topic[..topic.len().min(TOPIC_BYTES)]).into_owned(),
            payload: payload[..payload.len().min(LOOK_BYTES)].to_vec(),
            size: payload.len(),
        };
        let mut looks = locked(&self.looks);
        let kept = looks.entry(device.clone()).or_default();
        kept.truncate(LOOKS_KEPT - 1);
        kept.push_front(look);
    }

    pub(super) fn enter(&self, client: &str) -> (u64, oneshot::Receiver<Refusal>) {
        let (kick, kicked) = oneshot::channel();
        let mut sessions = locked(&self.sessions);
        sessions.next += 1;
        let number = sessions.next;
        let former = sessions.by_client.insert(client.to_owned(), (number, Some(kick)));
        if let Some((_, Some(former))) = former {
            // A session that ended meanwhile has nobody to kick.
            let _ = former.send(Refusal::TakenOver);
        }
        (number, kicked)
    }

    /// Whether this was still the client's newest connection.
    pub(super) fn leave(&self, client: &str, number: u64) -> bool {
        let mut sessions = locked(&self.sessions);
        let is_newest = sessions.by_client.get(client).is_some_and(|(n, _)| *n == number);
        if is_newest {
            sessions.by_client.remove(client);
        }
        is_newest
    }

    pub(super) fn dismiss_all(&self) {
        for (_, (_, kick)) in locked(&self.sessions).by_client.drain() {
            // A session that ended meanwhile has nobody to kick.
            let _ = kick.map(|kick| kick.send(Refusal::ShuttingDown));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_connection_wins_and_an_ended_one_is_told() {
        let doorman = Doorman::default();
        let (first, mut kicked) = doorman.enter("a");
        let (second, mut ended) = doorman.enter("a");
        assert_eq!(kicked.try_recv(), Ok(Refusal::TakenOver));
        assert!(!doorman.leave("a", first) && doorman.is_connected("a"));
        assert!(doorman.disconnect("a") && !doorman.disconnect("a"));
        assert_eq!(ended.try_recv(), Ok(Refusal::Administrative));
        assert!(doorman.leave("a", second), "its will is done");
    }

    #[test]
    fn what_a_waiting_device_says_is_kept_bounded() {
        let doorman = Doorman::default();
        let device: DeviceId = "new-1".parse().unwrap();
        for n in 0..10 {
            doorman.look(&device, b"t", &vec![n; 2_000], Timestamp::EPOCH);
        }
        let looks = doorman.looks(&device);
        assert_eq!(looks.len(), LOOKS_KEPT);
        assert_eq!((looks[0].payload[0], looks[0].payload.len(), looks[0].size), (9, 512, 2_000));
        doorman.forget("new-1");
        assert!(doorman.looks(&device).is_empty());
    }
}
