//! The same work done by others: `cargo bench --bench peers -- [mqtt|latency|store]`.
//!
//! mosquitto and VictoriaMetrics as Debian packages them, started here on free ports and folders of their own, with the
//! same messages and readings that the hub gets in the same run. What is not alike is printed with the figures: an
//! acknowledgement of the hub's means "on disk and judged", one of mosquitto's "in memory"; VictoriaMetrics keeps what it
//! has taken in memory for some seconds. A peer that is not installed is left out, and the table says so.

#![allow(unreachable_pub, reason = "a benchmark has no outside")]

#[path = "../hub/generator.rs"]
#[allow(dead_code)]
mod generator;
mod mqtt;
#[path = "../../tests/hub/support/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "../hub/procfs.rs"]
mod procfs;
mod server;
mod store;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    // One thread for the load: the other core and what this one leaves are the server's.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    if is_wanted("mqtt") {
        runtime.block_on(mqtt::throughput());
    }
    if is_wanted("latency") {
        runtime.block_on(mqtt::latency());
    }
    if is_wanted("store") {
        runtime.block_on(store::run());
    }
}

/// A row of a table: what, the hub's figure, the peer's, and how many times ours is theirs.
fn row(what: &str, ours: f64, theirs: Option<f64>) {
    let show = |x: f64| match x.abs() {
        x if x >= 1_000.0 => format!("{x:.0}"),
        x if x >= 10.0 => format!("{x:.1}"),
        x => format!("{x:.3}"),
    };
    let (theirs, ratio) = match theirs {
        Some(theirs) => (show(theirs), format!("{:.2}", ours / theirs)),
        None => ("not installed".to_owned(), "-".to_owned()),
    };
    println!("| {what:<52} | {:>12} | {theirs:>13} | {ratio:>8} |", show(ours));
}

fn head(title: &str, peer: &str, alike: &str) {
    println!("\n## {title}\n\n{alike}\n");
    println!("| {:<52} | {:>12} | {peer:>13} | {:>8} |\n|---|---|---|---|", "", "hub", "ratio");
}
