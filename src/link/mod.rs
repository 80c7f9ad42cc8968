//! A client's link to a broker that is not the hub's own: where it is, how one signs in, one connection, the pause before the
//! next, and how the link stands.
//!
//! Takes a [`Server`]; hands on [`Event`]s. Both protocol versions look alike behind it. It is rumqttc, contained: each
//! connection gets a fresh client, because what rumqttc carries over from a lost one (acknowledgements of messages that will
//! come again, packet identifiers of a session that the broker may have forgotten) is wrong on the next; what must
//! outlive a connection is kept by whoever owns the link.
//!
//! Never here: a topic's meaning, a queue.

mod pause;
mod server;
mod standing;
mod wire;

pub use pause::Pause;
pub(crate) use server::half_minute;
pub use server::{KeyError, Protocol, Server, ServerKeys};
pub use standing::Standing;
pub use wire::{
    Event, Events, Filter, Gone, LinkError, Message, Outcome, Quality, Sender, Wishes, open,
};
