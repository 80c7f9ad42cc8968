//! A sensor: looks at its bit of the town, adds its own noise, and knows when to report.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::canal::Canals;
use crate::device::{Reading, bay, canal_gauge, manhole, pipe, rain_gauge};
use crate::parking::Parking;
use crate::rain::TippingBucket;
use crate::random::noise;
use crate::sewer::Sewer;
use crate::supply::Main;
use crate::town::Observes;

/// What a battery of lithium cells loses per day, in volts.
const BATTERY_V_PER_S: f64 = 0.0004 / 86_400.0;
/// Tilt of a cover that lies beside its hole, in degrees.
const COVER_OFF_TILT_DEG: f64 = 42.0;

/// What sensors look at.
pub(super) struct Surroundings<'a> {
    pub(super) sewer: &'a Sewer,
    pub(super) canals: &'a Canals,
    pub(super) mains: &'a [Main],
    pub(super) parking: &'a Parking,
    /// The local hour with its fraction.
    pub(super) hour: f64,
}

/// Gas above the usual, moving to where it is sent at a steady rate.
#[derive(Debug, Clone, Copy, Default)]
struct Gas {
    now: (f64, f64),
    target: (f64, f64),
    rate: (f64, f64),
}

/// One sensor.
#[derive(Debug)]
pub(super) struct Sensor {
    observes: Observes,
    period_ms: f64,
    due_ms: i64,
    battery_v: f64,
    /// The battery's voltage while a script holds it down.
    weak_v: Option<f64>,
    /// Slow noise: each reading keeps most of the last one's.
    drift: f64,
    gas: Gas,
    usual_ch4: f64,
    tilt_deg: f64,
    cover_open: bool,
    bucket: TippingBucket,
    /// The last occupancy that a bay reported.
    reported: Option<bool>,
    stuck: bool,
    /// How far every so manieth message is off, and how many came since.
    spikes: Option<(f64, u32, u32)>,
    /// How far its value runs away in an hour, and how far it has come.
    runaway: Option<(f64, f64)>,
    last: Option<Reading>,
}

impl Sensor {
    pub(super) fn new(
        observes: Observes,
        period_ms: f64,
        due_ms: i64,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        Sensor {
            observes,
            period_ms,
            due_ms,
            battery_v: rng.random_range(3.45..3.66),
            weak_v: None,
            drift: 0.0,
            gas: Gas::default(),
            usual_ch4: rng.random_range(0.0..2.0),
            tilt_deg: rng.random_range(0.2..2.5),
            cover_open: false,
            bucket: TippingBucket::default(),
            reported: None,
            stuck: false,
            spikes: None,
            runaway: None,
            last: None,
        }
    }

    pub(super) fn set_cover_open(&mut self, open: bool) {
        self.cover_open = open;
    }

    pub(super) fn set_weak(&mut self, volts: Option<f64>) {
        self.weak_v = volts;
    }

    pub(super) fn set_stuck(&mut self, stuck: bool) {
        self.stuck = stuck;
    }

    /// Every so manieth message is off by so much.
    pub(super) fn set_spikes(&mut self, spikes: Option<(f64, u32)>) {
        self.spikes = spikes.map(|(by, every)| (by, every, 0));
    }

    /// The value runs away by so much in an hour; `None`: it is calibrated.
    pub(super) fn set_drift(&mut self, per_h: Option<f64>) {
        self.runaway = per_h.map(|per_h| (per_h, 0.0));
    }

    /// Sends the gas above the usual to `ch4` and `h2s` within `over_s` seconds.
    pub(super) fn send_gas(&mut self, ch4: f64, h2s: f64, over_s: f64) {
        let (now_ch4, now_h2s) = self.gas.now;
        self.gas.target = (ch4, h2s);
        self.gas.rate = ((ch4 - now_ch4).abs() / over_s, (h2s - now_h2s).abs() / over_s);
    }

    pub(super) fn catch_rain(&mut self, mm: f64) {
        self.bucket.catch(mm);
    }

    /// Lets `dt_s` seconds pass.
    pub(super) fn pass(&mut self, dt_s: f64) {
        self.battery_v -= BATTERY_V_PER_S * dt_s;
        if let Some((per_h, off)) = &mut self.runaway {
            *off += *per_h * dt_s / 3600.0;
        }
        let approach = |now: f64, target: f64, rate: f64| {
            now + (target - now).clamp(-rate * dt_s, rate * dt_s)
        };
        let Gas { now, target, rate } = self.gas;
        self.gas.now = (approach(now.0, target.0, rate.0), approach(now.1, target.1, rate.1));
    }

    /// Whether its period is over, or its bay has changed since it reported.
    pub(super) fn wants_to_report(&self, now_ms: i64, around: &Surroundings) -> bool {
        if matches!(self.observes, Observes::Gate(_)) {
            return false;
        }
        let changed = match (self.observes, self.reported) {
            (Observes::Bay(bay), Some(reported)) => {
                !self.stuck && around.parking.occupied(bay) != reported
            }
            _ => false,
        };
        changed || now_ms >= self.due_ms
    }

    /// Takes a reading and sets when the next one is due.
    pub(super) fn report(
        &mut self,
        now_ms: i64,
        around: &Surroundings,
        rng: &mut ChaCha8Rng,
    ) -> Reading {
        while self.due_ms <= now_ms {
            let missed = ((now_ms - self.due_ms) as f64 / self.period_ms).floor() + 1.0;
            self.due_ms += ((missed * self.period_ms) as i64).max(1);
        }
        self.drift = 0.8 * self.drift + 0.6 * noise(rng);
        let mut reading = match (&self.last, self.stuck) {
            (Some(last), true) => last.clone(),
            _ => self.look(around, rng),
        };
        if let Some((_, off)) = self.runaway {
            reading.shift(off);
        }
        // What a stuck device repeats is what it saw, not a spike.
        let seen = reading.clone();
        if let Some((by, every, since)) = &mut self.spikes {
            *since += 1;
            if *since >= *every {
                *since = 0;
                reading.shift(*by);
            }
        }
        if let Reading::Bay(bay) = &reading {
            self.reported = Some(bay.occupied);
        }
        self.last = Some(seen);
        reading
    }

    fn look(&mut self, around: &Surroundings, rng: &mut ChaCha8Rng) -> Reading {
        let battery_v = self.weak_v.unwrap_or(self.battery_v);
        match self.observes {
            Observes::Manhole(index) => Reading::Manhole(self.look_into(
                around.sewer.manholes()[index].depth(),
                battery_v,
                rng,
            )),
            Observes::SewerPipe { manhole, main } => {
                let flow_m3h = around.sewer.manholes()[manhole].flow_m3s() * 3600.0;
                self.pipe(flow_m3h, around.mains[main].pressure_kpa(around.hour))
            }
            Observes::Main(main) => {
                let main = &around.mains[main];
                self.pipe(main.flow_m3h(around.hour), main.pressure_kpa(around.hour))
            }
            Observes::Rain(_) => {
                Reading::Rain(rain_gauge::Reading { rain_mm: self.bucket.take_mm(), battery_v })
            }
            Observes::Basin(basin) => {
                let level_m = around.canals.level_m(basin) + 0.001 * self.drift;
                Reading::Canal(canal_gauge::Reading { level_m, battery_v })
            }
            Observes::Bay(bay) => {
                let temperature_c = ground_temperature(around.hour) + 0.3 * self.drift;
                let occupied = around.parking.occupied(bay);
                Reading::Bay(bay::Reading { occupied, battery_v, temperature_c })
            }
            Observes::Gate(_) => unreachable!("a gate never wants to report"),
        }
    }

    fn look_into(&self, depth_m: f64, battery_v: f64, rng: &mut ChaCha8Rng) -> manhole::Reading {
        let (ch4, h2s) = self.gas.now;
        // Fresh air falls in where the cover is off, and gas takes the place of air.
        let share = if self.cover_open { 0.3 } else { 1.0 };
        let ch4_lel = ((self.usual_ch4 + 0.2 * self.drift + ch4) * share).max(0.0);
        let h2s_ppm = ((0.5 + 0.1 * noise(rng) + h2s) * share).max(0.0);
        let tilt_deg = if self.cover_open { COVER_OFF_TILT_DEG } else { self.tilt_deg };
        manhole::Reading {
            level_m: (depth_m + 0.002 * self.drift).max(0.0),
            ch4_lel,
            h2s_ppm,
            // 100 % LEL of methane is 5 % by volume; it thins the air's oxygen by as much.
            o2_vol: 20.9 * (1.0 - 0.05 * ch4_lel / 100.0) - 0.01 * h2s_ppm,
            cover_open: self.cover_open,
            tilt_deg: tilt_deg + 0.05 * noise(rng),
            battery_v,
        }
    }

    fn pipe(&self, flow_m3h: f64, pressure_kpa: f64) -> Reading {
        Reading::Pipe(pipe::Reading {
            flow_m3h: flow_m3h * (1.0 + 0.01 * self.drift),
            pressure_kpa: (pressure_kpa + 0.8 * self.drift).max(0.0),
            battery_percent: ((self.battery_v - 3.0) / 0.7 * 100.0).clamp(0.0, 100.0),
        })
    }
}

/// Temperature of asphalt over a day in degrees Celsius, warmest at three in the afternoon.
fn ground_temperature(hour: f64) -> f64 {
    21.0 + 6.0 * ((hour - 15.0) / 24.0 * std::f64::consts::TAU).cos()
}
