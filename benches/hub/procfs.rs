//! What the kernel says of a process: CPU seconds and peak memory.

/// CPU time so far, user and system, in seconds.
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    // The name in parentheses may hold spaces; the fields after it do not.
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    let ticks = |i: usize| fields[i].parse::<f64>().expect("a number");
    // utime and stime are fields 14 and 15 of proc(5), in ticks of 1/100 s on every Linux that we know.
    (ticks(11) + ticks(12)) / 100.0
}

/// A line of /proc/PID/status in MiB: `VmHWM` (peak) or `VmRSS` (now).
pub fn memory_mib(pid: u32, line: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let value = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':')).expect(line);
    let kib: f64 = value.trim().trim_end_matches(" kB").parse().expect("a number");
    kib / 1024.0
}
