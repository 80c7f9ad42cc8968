//! From the outbox to the upstream broker: in order, at QoS 1, each kept until the broker has it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::BridgeError;
use super::health::{Hand, Health};
use super::outbox::Outbox;
use crate::link::{self, Event, Events, LinkError, Outcome, Pause, Sender, Server, Wishes};

/// Messages ahead of the broker's acknowledgement.
pub(super) const IN_FLIGHT: u16 = 128;

/// How often the outbox is looked at for news, and what left is taken out of it.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Acknowledged messages that are taken out of the outbox together.
const TOGETHER: usize = 64;

pub(super) struct Courier {
    pub(super) server: Server,
    pub(super) outbox: Outbox,
    pub(super) health: Arc<Health>,
}

/// What is on its way over one connection.
#[derive(Default)]
struct Round {
    /// The last message that was handed in.
    last: i64,
    /// Handed in, and not yet written: rumqttc tells the packet identifier then.
    handed_in: VecDeque<(i64, String)>,
    in_flight: HashMap<u16, (i64, String)>,
    /// The broker has them, or will not have them.
    done: BTreeSet<i64>,
    /// A disk that failed is not tried before.
    rests_until: Option<Instant>,
    rests: Pause,
}

/// How a connection ended.
enum End {
    GoingDown,
    Lost(String),
}

impl Courier {
    /// Sends what waits until `going_down` is done, over as many connections as that needs.
    pub(super) async fn run(mut self, going_down: impl Future<Output = ()>) -> &'static str {
        let mut going_down = pin!(going_down);
        let mut pause = Pause::default();
        // Nothing is subscribed to: there is no session worth keeping.
        let wishes =
            Wishes { session_expiry: Duration::ZERO, receive_maximum: 1, in_flight: IN_FLIGHT };
        loop {
            let why = match link::open(&self.server, &wishes) {
                Ok((sender, events)) => {
                    match self.serve(&sender, events, &mut pause, &mut going_down).await {
                        End::GoingDown => break,
                        End::Lost(why) => why,
                    }
                }
                Err(why) => crate::error_chain(&why),
            };
            self.health.away(&why);
            tokio::select! {
                () = &mut going_down => break,
                () = tokio::time::sleep(pause.after_failure()) => {}
            }
        }
        "bridge"
    }

    async fn serve(
        &mut self,
        sender: &Sender,
        mut events: Events,
        pause: &mut Pause,
        mut going_down: impl Future<Output = ()> + Unpin,
    ) -> End {
        let mut round = Round::default();
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_up = false;
        let end = 'connection: loop {
            let event = {
                let mut poll = pin!(events.poll());
                loop {
                    tokio::select! {
                        biased;
                        () = &mut going_down => break 'connection End::GoingDown,
                        event = &mut poll => break event,
                        _ = looks.tick(), if is_up => self.fill(&mut round, sender),
                    }
                }
            };
            let mut next = match event {
                Ok(event) => Some(event),
                Err(why) => break End::Lost(crate::error_chain(&why)),
            };
            while let Some(event) = next {
                if matches!(event, Event::Connected { .. }) {
                    is_up = true;
                    pause.up();
                    self.health.up();
                }
                if let Err(why) = self.on_event(event, &mut round, pause) {
                    break 'connection End::Lost(crate::error_chain(&why));
                }
                next = events.buffered();
            }
            // Refilled by halves: one read of the disk serves many messages.
            if is_up && round.done.len() >= TOGETHER {
                self.fill(&mut round, sender);
            }
        };
        // What was acknowledged is not sent again.
        let outcome = tokio::task::block_in_place(|| self.clear(&mut round));
        self.told(&mut round, outcome);
        end
    }

    fn on_event(
        &self,
        event: Event,
        round: &mut Round,
        pause: &mut Pause,
    ) -> Result<(), LinkError> {
        match event {
            Event::Sent(id) => {
                round.in_flight.extend(round.handed_in.pop_front().map(|message| (id, message)));
            }
            Event::Acknowledged { id, outcome } => {
                let Some((message, topic)) = round.in_flight.remove(&id) else { return Ok(()) };
                match outcome {
                    Outcome::Taken => self.health.sent(),
                    Outcome::Unheard => self.health.unheard(),
                    // Its time will come: the connection is made anew after a pause.
                    Outcome::Refused(reason) if reason == "quota exceeded" => {
                        return Err(LinkError::Refused(reason));
                    }
                    Outcome::Refused(reason) => self.health.refused(&topic, &reason),
                }
                pause.reset();
                round.done.insert(message);
            }
            _ => {}
        }
        Ok(())
    }

    /// Hands in what waits, as far as there is room. Blocks for the disk. One that fails is left alone for a while; the
    /// connection is not to blame and stays.
    fn fill(&mut self, round: &mut Round, sender: &Sender) {
        if round.rests_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        let outcome = tokio::task::block_in_place(|| {
            self.clear(round).and_then(|()| self.hand_in(round, sender))
        });
        self.told(round, outcome);
    }

    fn told(&self, round: &mut Round, outcome: Result<(), BridgeError>) {
        round.rests_until = match outcome {
            Ok(()) => {
                round.rests.reset();
                None
            }
            Err(_) => Some(Instant::now() + round.rests.after_failure()),
        };
        self.health.disk(Hand::Courier, outcome.map_err(|why| crate::error_chain(&why)));
    }

    fn hand_in(&self, round: &mut Round, sender: &Sender) -> Result<(), BridgeError> {
        let room = usize::from(IN_FLIGHT) - round.handed_in.len() - round.in_flight.len();
        if room == 0 {
            return Ok(());
        }
        for (id, topic, payload) in self.outbox.after(round.last, room)? {
            if sender.publish(&topic, payload).is_err() {
                // The poll tells why.
                return Ok(());
            }
            round.last = id;
            round.handed_in.push_back((id, topic));
        }
        Ok(())
    }

    fn clear(&mut self, round: &mut Round) -> Result<(), BridgeError> {
        if round.done.is_empty() {
            return Ok(());
        }
        let ids: Vec<i64> = round.done.iter().copied().collect();
        let removed = self.outbox.take_out(&ids)?;
        round.done.clear();
        self.health.left(removed);
        Ok(())
    }
}
