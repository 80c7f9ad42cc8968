//! The controllers of the gates: real Modbus TCP servers, wz-sg200.
//!
//! Registers of unit 1 (addresses as on the wire): holding 100 opening and 200 setpoint, both u16 in 0.1 %, and 201 the
//! stop (write 1: the gate stands, and its setpoint becomes its opening); input 10-11 and 12-13 the levels up and down as
//! f32, low word first; input 20 the motor, 21 the hoist's load in 0.1 kN, 22 the motor's current in 0.01 A; discrete 3 the
//! remote key, 4 the emergency stop, 5 over-torque, 6 and 7 the upper and lower limit switch, 8 the mains, 9 the navigation
//! flag, 10 the water intake mode. Registers around them read as 0, so that a master may read in blocks; only the setpoint
//! and the stop can be written. A controller whose link is down keeps its connections and answers nothing.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_modbus::prelude::{ExceptionCode, Request, Response, SlaveRequest};
use tokio_modbus::server::Service;
use tokio_modbus::server::tcp::Server;

use crate::gate::Gate;
use crate::world::GateView;

/// The unit that answers.
const UNIT: u8 = 1;
/// The controller refuses longer reads.
const MAX_READ: u16 = 60;
/// Masters that one controller serves at once, as small controllers do.
const MAX_MASTERS: usize = 4;
/// Holding registers that exist.
const HOLDING: [Range<u16>; 2] = [100..116, 200..216];
const OPENING: u16 = 100;
const SETPOINT: u16 = 200;
const STOP: u16 = 201;
/// Input registers that exist.
const INPUT: Range<u16> = 0..32;
const LEVEL_UP: u16 = 10;
const LEVEL_DOWN: u16 = 12;
const MOTOR: u16 = 20;
const LOAD: u16 = 21;
const CURRENT: u16 = 22;
/// Discrete inputs that exist.
const DISCRETE: Range<u16> = 0..16;
pub(crate) const REMOTE: u16 = 3;
pub(crate) const EMERGENCY_STOP: u16 = 4;
pub(crate) const OVER_TORQUE: u16 = 5;
pub(crate) const UPPER_LIMIT: u16 = 6;
pub(crate) const LOWER_LIMIT: u16 = 7;
pub(crate) const MAINS: u16 = 8;
pub(crate) const NAVIGATION: u16 = 9;
pub(crate) const WATER_INTAKE: u16 = 10;

/// What a controller and the simulated gate share.
#[derive(Debug, Clone)]
pub struct Controller(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    view: GateView,
    /// A setpoint that a master wrote and the gate has not heard of.
    written: Option<u16>,
    /// A stop that a master wrote and the gate has not heard of.
    stopped: bool,
    /// Writes that were carried out, stops included.
    writes: u64,
}

impl Controller {
    /// A controller that shows `view`.
    pub fn new(view: GateView) -> Self {
        Controller(Arc::new(Mutex::new(State { view, written: None, stopped: false, writes: 0 })))
    }

    /// Changes what the controller shows. A setpoint that was written in the meantime stays.
    pub fn show(&self, view: GateView) {
        self.with(|state| {
            state.view = view;
            if let Some(written) = state.written {
                state.view.setpoint = written;
            }
        });
    }

    /// The setpoint in 0.1 % that a master wrote since the last call.
    pub fn take_setpoint(&self) -> Option<u16> {
        self.with(|state| state.written.take())
    }

    /// Whether a master wrote the stop register since the last call.
    pub fn take_stop(&self) -> bool {
        self.with(|state| std::mem::take(&mut state.stopped))
    }

    /// How many writes were carried out.
    pub fn writes(&self) -> u64 {
        self.with(|state| state.writes)
    }

    fn is_online(&self) -> bool {
        self.with(|state| state.view.online)
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        // The state is plain numbers: a panic elsewhere leaves it whole.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn answer(&self, request: &Request) -> Result<Response, ExceptionCode> {
        match *request {
            Request::ReadHoldingRegisters(address, count) => {
                let range = block(address, count, &HOLDING)?;
                let view = self.with(|state| state.view);
                Ok(Response::ReadHoldingRegisters(range.map(|at| holding(&view, at)).collect()))
            }
            Request::ReadInputRegisters(address, count) => {
                let range = block(address, count, &[INPUT])?;
                let view = self.with(|state| state.view);
                Ok(Response::ReadInputRegisters(range.map(|at| input(&view, at)).collect()))
            }
            Request::ReadDiscreteInputs(address, count) => {
                let range = block(address, count, &[DISCRETE])?;
                let switches = self.with(|state| state.view.switches);
                Ok(Response::ReadDiscreteInputs(
                    range.map(|at| switches[usize::from(at)]).collect(),
                ))
            }
            Request::WriteSingleRegister(address, word) => {
                self.write(address, &[word])?;
                Ok(Response::WriteSingleRegister(address, word))
            }
            Request::WriteMultipleRegisters(address, ref words) => {
                self.write(address, words)?;
                Ok(Response::WriteMultipleRegisters(address, words.len() as u16))
            }
            _ => Err(ExceptionCode::IllegalFunction),
        }
    }

    fn write(&self, address: u16, words: &[u16]) -> Result<(), ExceptionCode> {
        match (address, words) {
            (SETPOINT, [word]) if *word <= Gate::FULL => self.with(|state| {
                state.view.setpoint = *word;
                state.written = Some(*word);
                state.stopped = false;
                state.writes += 1;
            }),
            (STOP, [1]) => self.with(|state| {
                state.written = None;
                state.stopped = true;
                state.writes += 1;
            }),
            (SETPOINT | STOP, [_]) => return Err(ExceptionCode::IllegalDataValue),
            _ => return Err(ExceptionCode::IllegalDataAddress),
        }
        Ok(())
    }
}

/// The addresses of a read, when they all exist.
fn block(address: u16, count: u16, tables: &[Range<u16>]) -> Result<Range<u16>, ExceptionCode> {
    if count == 0 || count > MAX_READ {
        return Err(ExceptionCode::IllegalDataValue);
    }
    let end = address.checked_add(count).ok_or(ExceptionCode::IllegalDataAddress)?;
    let exists = tables.iter().any(|table| table.start <= address && end <= table.end);
    if exists { Ok(address..end) } else { Err(ExceptionCode::IllegalDataAddress) }
}

/// What a holding register says; those around the real ones read as 0.
pub fn holding(view: &GateView, address: u16) -> u16 {
    match address {
        OPENING => view.opening,
        SETPOINT => view.setpoint,
        _ => 0,
    }
}

/// What an input register says; those around the real ones read as 0.
pub fn input(view: &GateView, address: u16) -> u16 {
    // Low word first ("CDAB").
    let words = |value: f32| [value.to_bits() as u16, (value.to_bits() >> 16) as u16];
    match address {
        LEVEL_UP => words(view.level_up_m)[0],
        11 => words(view.level_up_m)[1],
        LEVEL_DOWN => words(view.level_down_m)[0],
        13 => words(view.level_down_m)[1],
        MOTOR => view.motor as u16,
        LOAD => view.load,
        CURRENT => view.current,
        _ => 0,
    }
}

/// One master's connection.
struct Connection {
    controller: Controller,
    /// Its place among the masters that are served at once.
    _place: OwnedSemaphorePermit,
}

impl Service for Connection {
    type Request = SlaveRequest<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = Pin<Box<dyn Future<Output = Result<Response, ExceptionCode>> + Send>>;

    fn call(&self, request: Self::Request) -> Self::Future {
        if !self.controller.is_online() {
            // Whoever asks is never answered; a master that gives up connects anew.
            return Box::pin(std::future::pending());
        }
        let answer = match request.slave {
            UNIT => self.controller.answer(&request.request),
            _ => Err(ExceptionCode::GatewayTargetDevice),
        };
        Box::pin(std::future::ready(answer))
    }
}

/// Serves one controller on a bound listener until `stop` turns true (or its sender is gone).
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    controller: Controller,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(MAX_MASTERS));
    let on_connected = |stream: TcpStream, master: SocketAddr| {
        let place = Arc::clone(&places).try_acquire_owned();
        let controller = controller.clone();
        async move {
            let Ok(place) = place else {
                tracing::warn!(%master, "refused a master: {MAX_MASTERS} are served already");
                return Ok(None);
            };
            stream.set_nodelay(true)?;
            Ok(Some((Connection { controller, _place: place }, stream)))
        }
    };
    let on_error = |error: io::Error| tracing::debug!(%error, "a master's connection ended");
    let stopped = async move {
        // An error means that the sender is gone, which stops us too.
        let _ = stop.wait_for(|&stop| stop).await;
    };
    Server::new(listener).serve_until(&on_connected, on_error, stopped).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio_modbus::prelude::{Reader, Slave, Writer, tcp};

    use super::*;
    use crate::gate::Motor;

    fn view() -> GateView {
        GateView {
            opening: 250,
            setpoint: 300,
            motor: Motor::Opening,
            ..GateView::new(&Gate::new(2.0, 250), 3.5, 1.5)
        }
    }

    async fn start()
    -> (SocketAddr, Controller, watch::Sender<bool>, tokio::task::JoinHandle<io::Result<()>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let controller = Controller::new(view());
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(serve(listener, controller.clone(), stopped));
        (address, controller, stop, task)
    }

    #[tokio::test]
    async fn a_master_reads_the_registers_and_writes_the_setpoint() {
        let (address, controller, stop, task) = start().await;
        let mut master = tcp::connect_slave(address, Slave(UNIT)).await.unwrap();
        assert_eq!(master.read_holding_registers(100, 1).await.unwrap().unwrap(), [250]);
        let levels = master.read_input_registers(10, 11).await.unwrap().unwrap();
        assert_eq!(levels[..4], [0x0000, 0x4060, 0x0000, 0x3FC0], "3.5 and 1.5, low word first");
        assert_eq!(levels[10], 1, "the motor opens");
        assert_eq!(master.read_discrete_inputs(3, 1).await.unwrap().unwrap(), [true]);

        master.write_single_register(200, 420).await.unwrap().unwrap();
        assert_eq!(master.read_holding_registers(200, 1).await.unwrap().unwrap(), [420]);
        controller.show(view());
        assert_eq!(
            master.read_holding_registers(200, 1).await.unwrap().unwrap(),
            [420],
            "not heard yet"
        );
        assert_eq!(controller.take_setpoint(), Some(420));
        assert_eq!(controller.take_setpoint(), None);
        master.write_single_register(201, 1).await.unwrap().unwrap();
        assert!(controller.take_stop() && !controller.take_stop());
        assert_eq!(controller.writes(), 2);

        stop.send(true).unwrap();
        task.await.unwrap().unwrap();
        assert!(tcp::connect_slave(address, Slave(UNIT)).await.is_err(), "nobody listens");
    }

    #[tokio::test]
    async fn wrong_requests_get_the_right_exception() {
        let (address, controller, _stop, _task) = start().await;
        let mut master = tcp::connect_slave(address, Slave(UNIT)).await.unwrap();
        let value = master.write_single_register(200, 1001).await.unwrap();
        assert_eq!(value, Err(ExceptionCode::IllegalDataValue));
        let address_error = Err(ExceptionCode::IllegalDataAddress);
        assert_eq!(master.write_single_register(100, 1).await.unwrap(), address_error);
        assert_eq!(
            master.read_holding_registers(110, 20).await.unwrap().unwrap_err(),
            ExceptionCode::IllegalDataAddress
        );
        assert_eq!(
            master.read_input_registers(0, 61).await.unwrap().unwrap_err(),
            ExceptionCode::IllegalDataValue
        );
        assert_eq!(
            master.read_coils(0, 1).await.unwrap().unwrap_err(),
            ExceptionCode::IllegalFunction
        );
        assert_eq!(controller.take_setpoint(), None);
        let mut other = tcp::connect_slave(address, Slave(9)).await.unwrap();
        let answer = other.read_holding_registers(100, 1).await.unwrap();
        assert_eq!(answer.unwrap_err(), ExceptionCode::GatewayTargetDevice);
    }
}
