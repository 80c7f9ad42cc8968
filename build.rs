//! Makes cargo see a console that was built after the hub: a release build carries the files that stand in this folder
//! when it is compiled, and cargo itself watches only files that were there the last time.

const CONSOLE: &str = "dashboards/console/dist";

fn main() {
    // Cargo takes a folder that does not exist for one that always changed and would compile the hub anew every time.
    // When it cannot be made, that is what happens, and nothing worse.
    let _ = std::fs::create_dir_all(CONSOLE);
    println!("cargo::rerun-if-changed={CONSOLE}");
    println!("cargo::rerun-if-changed=build.rs");
}
