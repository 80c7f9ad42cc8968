//! Orders to a bus: writes, and reads that do not wait for their turn.
//!
//! An order goes before every poll. It is carried out once or not at all; its outcome says plainly which, or that
//! nobody knows. Whoever gets [`WriteError::Unknown`] reads before anything else: nothing here writes twice.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_modbus::{ExceptionCode, Request};

use crate::model::{DeviceId, PointIndex, Reading};
use crate::profile::{MaskWrite, RegisterWrite, Table};

/// Orders that may wait for one bus: an operator gives one at a time, a group command a few dozen.
pub(super) const ORDER_QUEUE: usize = 64;

/// An order that waited longer is not carried out any more: the world has moved on since it was given.
const ORDER_PATIENCE: Duration = Duration::from_secs(10);

/// The most registers that one request writes (function 16), and with a read in it (function 23).
const MAX_WRITE: (usize, usize) = (123, 121);

/// The most coils that one request writes (function 15).
const MAX_COILS: usize = 1_968;

/// Why a write did not, or perhaps did not, succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Nothing was sent: the device is as it was.
    #[error("nothing was sent: {why}")]
    NotSent {
        /// Why.
        why: String,
    },
    /// The device refused, and has carried out only the first `done` of the writes.
    #[error("the device refused with exception {code}: {why}")]
    Refused {
        /// How many writes it had carried out before.
        done: usize,
        /// The Modbus exception's number.
        code: u8,
        /// What the exception means.
        why: String,
    },
    /// The first `done` writes are carried out; the next perhaps. Read before anything else.
    #[error("nobody knows whether it was written: {why}")]
    Unknown {
        /// How many writes were certainly carried out.
        done: usize,
        /// Why.
        why: String,
    },
}

/// Why a device could not be read at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The device is not polled, or has none of these points in a register.
    #[error("cannot be asked: {why}")]
    NotAsked {
        /// Why.
        why: String,
    },
    /// The device did not answer, or not rightly.
    #[error("no answer: {why}")]
    NoAnswer {
        /// Why.
        why: String,
    },
}

/// An order on its way to a bus.
pub(super) struct Order {
    pub(super) device: DeviceId,
    pub(super) work: Work,
    given_at: Instant,
    is_begun: Arc<AtomicBool>,
}

/// What is to be done, and who waits for it.
pub(super) enum Work {
    Write(Vec<Request<'static>>, oneshot::Sender<Result<Vec<u16>, WriteError>>),
    Read(Vec<PointIndex>, oneshot::Sender<Result<Vec<Reading>, ReadError>>),
}

impl Order {
    /// Begins with the order, unless nobody waits for it any more or it has waited for too long.
    pub(super) fn begin(self) -> Option<(DeviceId, Work)> {
        let is_given_up = match &self.work {
            Work::Write(_, reply) => reply.is_closed(),
            Work::Read(_, reply) => reply.is_closed(),
        };
        if is_given_up || self.given_at.elapsed() > ORDER_PATIENCE {
            return None;
        }
        self.is_begun.store(true, Ordering::Release);
        Some((self.device, self.work))
    }
}

/// Gives writes to a bus and waits until they are carried out, in their order.
pub(super) async fn write(
    bus: Option<mpsc::Sender<Order>>,
    device: &DeviceId,
    requests: Vec<Request<'static>>,
) -> Result<Vec<u16>, WriteError> {
    let not_sent = |why: &str| WriteError::NotSent { why: why.to_owned() };
    let bus = bus.ok_or_else(|| not_sent("the device is not polled"))?;
    let (reply, outcome) = oneshot::channel();
    let is_begun = put(&bus, device, Work::Write(requests, reply)).map_err(not_sent)?;
    match outcome.await {
        Ok(outcome) => outcome,
        // The order was dropped: by its age, or because the bus stopped.
        Err(_) if is_begun.load(Ordering::Acquire) => {
            Err(WriteError::Unknown { done: 0, why: "the bus stopped while it wrote".to_owned() })
        }
        Err(_) => Err(not_sent("the bus was busy for too long, or stopped")),
    }
}

/// Has points read at once.
pub(super) async fn read(
    bus: Option<mpsc::Sender<Order>>,
    device: &DeviceId,
    points: Vec<PointIndex>,
) -> Result<Vec<Reading>, ReadError> {
    let not_asked = |why: &str| ReadError::NotAsked { why: why.to_owned() };
    let bus = bus.ok_or_else(|| not_asked("the device is not polled"))?;
    let (reply, outcome) = oneshot::channel();
    put(&bus, device, Work::Read(points, reply)).map_err(not_asked)?;
    outcome.await.unwrap_or_else(|_| Err(not_asked("the bus was busy for too long, or stopped")))
}

fn put(
    bus: &mpsc::Sender<Order>,
    device: &DeviceId,
    work: Work,
) -> Result<Arc<AtomicBool>, &'static str> {
    let is_begun = Arc::new(AtomicBool::new(false));
    let order = Order {
        device: device.clone(),
        work,
        given_at: Instant::now(),
        is_begun: Arc::clone(&is_begun),
    };
    match bus.try_send(order) {
        Ok(()) => Ok(is_begun),
        Err(mpsc::error::TrySendError::Full(_)) => Err("too many orders wait for this bus"),
        Err(mpsc::error::TrySendError::Closed(_)) => Err("the bus stopped"),
    }
}

/// The requests of some writes: functions 5 and 6 for one value, 15 and 16 for several.
pub(super) fn requests(writes: Vec<RegisterWrite>) -> Result<Vec<Request<'static>>, WriteError> {
    if writes.is_empty() {
        return Err(WriteError::NotSent { why: "there is nothing to write".to_owned() });
    }
    writes.into_iter().map(request).collect()
}

fn request(write: RegisterWrite) -> Result<Request<'static>, WriteError> {
    let RegisterWrite { table, address, values } = write;
    let most = if table.is_bits() { MAX_COILS } else { MAX_WRITE.0 };
    check_span(address, values.len(), most)?;
    match table {
        Table::Holding => Ok(match values[..] {
            [word] => Request::WriteSingleRegister(address, word),
            _ => Request::WriteMultipleRegisters(address, Cow::Owned(values)),
        }),
        Table::Coil => {
            if let Some(wrong) = values.iter().find(|&&value| value > 1) {
                return Err(not_sent(format!("a coil is 0 or 1, not {wrong}")));
            }
            let bits: Vec<bool> = values.iter().map(|&value| value == 1).collect();
            Ok(match bits[..] {
                [bit] => Request::WriteSingleCoil(address, bit),
                _ => Request::WriteMultipleCoils(address, Cow::Owned(bits)),
            })
        }
        Table::Discrete | Table::Input => {
            Err(not_sent(format!("the {} table cannot be written", table.as_str())))
        }
    }
}

/// The request that writes some bits of a register (function 22).
pub(super) fn mask_request(write: MaskWrite) -> Result<Request<'static>, WriteError> {
    let MaskWrite { address, mask, value } = write;
    if value & !mask != 0 {
        return Err(not_sent(format!("{value:#06x} has bits outside of the mask {mask:#06x}")));
    }
    Ok(Request::MaskWriteRegister(address, !mask, value))
}

/// The request that writes registers and reads others (function 23).
pub(super) fn exchange_request(
    write: RegisterWrite,
    from: u16,
    count: u16,
) -> Result<Request<'static>, WriteError> {
    let RegisterWrite { table, address, values } = write;
    if table != Table::Holding {
        return Err(not_sent("only holding registers are read and written in one".to_owned()));
    }
    check_span(address, values.len(), MAX_WRITE.1)?;
    check_span(from, usize::from(count), 125)?;
    Ok(Request::ReadWriteMultipleRegisters(from, count, address, Cow::Owned(values)))
}

fn check_span(address: u16, count: usize, most: usize) -> Result<(), WriteError> {
    if count == 0 || count > most {
        return Err(not_sent(format!("one request has 1 to {most} values, not {count}")));
    }
    if usize::from(address) + count > 0x1_0000 {
        return Err(not_sent(format!("{count} values from {address} go beyond 65535")));
    }
    Ok(())
}

fn not_sent(why: String) -> WriteError {
    WriteError::NotSent { why }
}

/// The other form of a write of one value: some devices know only the one for several. For use after exception 1
/// (illegal function) only, by which the device says that it did nothing.
pub(super) fn other_form(
    request: &Request<'static>,
    code: ExceptionCode,
) -> Option<Request<'static>> {
    if code != ExceptionCode::IllegalFunction {
        return None;
    }
    match *request {
        Request::WriteSingleRegister(address, word) => {
            Some(Request::WriteMultipleRegisters(address, Cow::Owned(vec![word])))
        }
        Request::WriteSingleCoil(address, bit) => {
            Some(Request::WriteMultipleCoils(address, Cow::Owned(vec![bit])))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(table: Table, address: u16, values: &[u16]) -> Result<Request<'static>, WriteError> {
        request(RegisterWrite { table, address, values: values.to_vec() })
    }

    #[test]
    fn one_value_and_several_have_their_own_functions() {
        let function = |request: Result<Request<'_>, _>| request.unwrap().function_code().value();
        assert_eq!(function(write(Table::Coil, 1, &[1])), 5);
        assert_eq!(function(write(Table::Holding, 1, &[700])), 6);
        assert_eq!(function(write(Table::Coil, 1, &[1, 0])), 15);
        assert_eq!(function(write(Table::Holding, 1, &[1, 2])), 16);
        let mask = MaskWrite { address: 4, mask: 0x00F0, value: 0x0030 };
        assert_eq!(mask_request(mask), Ok(Request::MaskWriteRegister(4, 0xFF0F, 0x0030)));
        let both = RegisterWrite { table: Table::Holding, address: 1, values: vec![1] };
        assert_eq!(function(exchange_request(both, 9, 2)), 23);
    }

    #[test]
    fn what_cannot_be_written_is_not_sent() {
        let refuse = |result: Result<Request<'_>, WriteError>, expected: &str| {
            let message = result.unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        };
        refuse(write(Table::Input, 1, &[1]), "the input table cannot be written");
        refuse(write(Table::Coil, 1, &[2]), "0 or 1");
        refuse(write(Table::Holding, 1, &[]), "1 to 123");
        refuse(write(Table::Holding, 1, &[0; 124]), "1 to 123");
        refuse(write(Table::Holding, 65_535, &[1, 2]), "beyond 65535");
        refuse(mask_request(MaskWrite { address: 1, mask: 1, value: 2 }), "outside of the mask");
        assert!(requests(Vec::new()).is_err());
    }
}
