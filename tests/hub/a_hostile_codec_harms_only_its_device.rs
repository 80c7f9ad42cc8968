//! Codecs in the real binary's child processes: what one of them does, the others do not notice.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use townhub::codec::{Answer, Codec, Codecs, Function, Job, Outcome, Worker};
use townhub::model::Timestamp;

const GOOD: &str = "function decodeUplink(input) { return { data: { sum: input.bytes.reduce((a, b) => a + b, 0) } } }";

fn binary() -> PathBuf {
    env!("CARGO_BIN_EXE_townhub").into()
}

fn job(codec: &Arc<Codec>, device: &str, input: &[u8]) -> Job {
    Job {
        codec: Arc::clone(codec),
        function: Function::DecodeUplink,
        port: 1,
        at: Timestamp::from_secs(1_790_000_000),
        input: input.into(),
        device: Some(device.into()),
        is_timed: false,
        radio: "".into(),
    }
}

fn codec(source: &str) -> Arc<Codec> {
    Arc::new(Codec::new("x.js", source))
}

fn sum(n: u32) -> Outcome {
    Ok(Answer::Data { json: format!("{{\"sum\":{n}}}"), warnings: Vec::new() })
}

fn reasons(outcomes: &[Outcome]) -> Vec<&'static str> {
    outcomes.iter().map(|o| o.as_ref().err().map_or("ok", |error| error.reason())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_one_call_is_answered_to_it_alone() {
    let codecs = Codecs::start(Some(binary())).expect("threads");
    let good = codec(GOOD);
    let body = |body: &str| codec(&format!("function decodeUplink(input) {{ {body} }}"));
    let bad = [
        ("codec_timeout", body("while (1);")),
        ("codec_memory", body("const a = []; while (1) a.push(new Uint8Array(1e6).fill(1))")),
        ("codec_throws", body("throw 7")),
        ("codec_error", body("return { errors: ['short'] }")),
        ("codec_throws", body("return (function f() { return f() + 1 })()")),
        ("codec_bad_result", body("return 7")),
        ("codec_no_function", codec("var x")),
        ("codec_syntax", codec("function (")),
    ];
    let mut jobs = Vec::new();
    for (_, codec) in &bad {
        jobs.push(job(codec, "bad", &[]));
        jobs.push(job(&good, "good", &[1, 2]));
    }
    let outcomes = codecs.call(jobs).await;
    let expected: Vec<_> = bad.iter().flat_map(|(reason, _)| [*reason, "ok"]).collect();
    assert_eq!(reasons(&outcomes), expected);
    assert!(outcomes.iter().skip(1).step_by(2).all(|outcome| *outcome == sum(3)));
    let stats = codecs.stats();
    assert_eq!((stats.calls, stats.lost), (16, 0));
    assert_eq!(stats.errors.iter().map(|(_, n)| n).sum::<u64>(), 8);
    codecs.stop().await;
    let closed = codecs.call(vec![job(&good, "good", &[])]).await;
    assert_eq!(reasons(&closed), ["codec_unavailable"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_whose_codec_loops_is_not_called_for_a_while() {
    let codecs = Codecs::start(Some(binary())).expect("threads");
    let loops_on_zero =
        codec("function decodeUplink(i) { while (i.bytes[0] === 0); return { data: { sum: 1 } } }");
    let mut seen = Vec::new();
    for _ in 0..5 {
        let outcomes = codecs.call(vec![job(&loops_on_zero, "broken", &[0])]).await;
        seen.extend(reasons(&outcomes));
    }
    let timeout = "codec_timeout";
    assert_eq!(seen, [timeout, timeout, timeout, "codec_suspended", "codec_suspended"]);
    // The same codec on another device's frame.
    assert_eq!(codecs.call(vec![job(&loops_on_zero, "fine", &[1])]).await, [sum(1)]);
    codecs.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_looping_codec_delays_the_others_by_its_budget_only() {
    let codecs = Codecs::start(Some(binary())).expect("threads");
    let good = codec(GOOD);
    let warm = codecs.call((0..8).map(|_| job(&good, "good", &[1])).collect()).await;
    assert!(warm.iter().all(Result::is_ok));
    let loops = codec("function decodeUplink() { while (1); }");
    let looping = {
        let codecs = codecs.clone();
        tokio::spawn(async move { codecs.call(vec![job(&loops, "bad", &[])]).await })
    };
    let start = Instant::now();
    assert_eq!(codecs.call(vec![job(&good, "good", &[1, 2])]).await, [sum(3)]);
    // Its budget is 50 ms; the machine may be busy with other tests.
    assert!(start.elapsed() < Duration::from_millis(700), "{:?}", start.elapsed());
    assert_eq!(reasons(&looping.await.expect("ended")), ["codec_timeout"]);
    codecs.stop().await;
}

#[test]
fn a_child_that_dies_or_hangs_is_replaced_and_its_calls_are_made_again() {
    let mut worker = Worker::new(Some(binary()));
    let good = codec(GOOD);
    let jobs: Vec<Job> = (0..100).map(|n| job(&good, "good", &[n])).collect();
    let expected: Vec<Outcome> = (0..100).map(sum).collect();
    assert_eq!(worker.run(&jobs), expected);
    for signal in [rustix::process::Signal::KILL, rustix::process::Signal::STOP] {
        let id = worker.child_id().expect("a child");
        let pid = rustix::process::Pid::from_raw(id as i32).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("sent");
        assert_eq!(worker.run(&jobs), expected, "{signal:?}");
        assert_ne!(worker.child_id(), Some(id));
    }
}

#[test]
fn a_call_that_kills_its_child_costs_itself_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("dies.sh");
    // Says that it is a child, and dies of the first frame.
    std::fs::write(&program, "#!/bin/sh\nprintf 'codec\\000\\000\\001'\nhead -c 4 > /dev/null\n")
        .expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("executable");
    let good = codec(GOOD);
    let jobs: Vec<Job> = (0..3).map(|n| job(&good, "good", &[n])).collect();
    assert_eq!(reasons(&Worker::new(Some(program)).run(&jobs)), ["codec_died"; 3]);
    let nothing = Worker::new(Some("/nonexistent".into())).run(&jobs);
    assert_eq!(reasons(&nothing), ["codec_unavailable"; 3]);
    // A program that is no child of ours talks nonsense.
    let other = Worker::new(Some("/bin/echo".into())).run(&jobs);
    assert_eq!(reasons(&other), ["codec_died"; 3]);
}

#[test]
fn a_child_has_no_files_and_little_memory() {
    let mut worker = Worker::new(Some(binary()));
    assert!(worker.run(&[job(&codec(GOOD), "good", &[1])])[0].is_ok());
    let id = worker.child_id().expect("a child");
    let read =
        |what: &str| std::fs::read_to_string(format!("/proc/{id}/{what}")).expect("readable");
    let limits = read("limits");
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line[name.len()..].split_whitespace().next().unwrap_or_default().to_owned()
    };
    assert_eq!(limit("Max open files"), "0");
    assert_eq!(limit("Max processes"), "0");
    assert_eq!(limit("Max file size"), "0");
    assert_eq!(limit("Max address space"), (1u64 << 30).to_string());
    assert_eq!(read("environ").trim_end_matches('\0'), "TZ=UTC0");
    let cwd = std::fs::read_link(format!("/proc/{id}/cwd")).expect("a folder");
    assert_eq!(cwd, PathBuf::from("/"));
    // What the test itself was started with may be inherited; nothing that it or the hub opened is.
    let open = |id: &str| -> Vec<PathBuf> {
        let files = std::fs::read_dir(format!("/proc/{id}/fd")).expect("files");
        let files =
            files.flatten().filter(|file| !["0", "1", "2"].iter().any(|n| file.file_name() == *n));
        files.filter_map(|file| std::fs::read_link(file.path()).ok()).collect()
    };
    let parents = open("self");
    let foreign: Vec<_> =
        open(&id.to_string()).into_iter().filter(|file| !parents.contains(file)).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}

/// `cargo test --release --test hub codec -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: run it in release"]
async fn a_warm_call_takes_some_microseconds() {
    let codecs = Codecs::start(Some(binary())).expect("threads");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/device-profiles");
    let mut measured = vec![("tiny".to_owned(), codec(GOOD), vec![1; 12])];
    for (file, frame) in
        [("lw-mh2.js", "0104db020004082a000e1a"), ("lw-pl4.js", "0f040bc40bc00bb30ba40e10")]
    {
        let Ok(source) = std::fs::read_to_string(format!("{folder}/{file}")) else { continue };
        let bytes = (0..frame.len() / 2)
            .map(|i| u8::from_str_radix(&frame[2 * i..2 * i + 2], 16).expect("hex"));
        measured.push((file.to_owned(), codec(&source), bytes.collect()));
    }
    for (name, codec, input) in &measured {
        for batch in [64, 16, 1] {
            let mut times = Vec::new();
            for round in 0..2_000 {
                let jobs: Vec<Job> = (0..batch).map(|_| job(codec, "d", input)).collect();
                let start = Instant::now();
                let outcomes = codecs.call(jobs).await;
                let took = start.elapsed() / batch;
                assert!(outcomes.iter().all(Result::is_ok), "{:?}", outcomes[0]);
                if round >= 100 {
                    times.push(took);
                }
            }
            times.sort();
            let at = |share: f64| times[(times.len() as f64 * share) as usize];
            println!(
                "{name}, batches of {batch}: {:?} a call (median), {:?} (99 %)",
                at(0.5),
                at(0.99)
            );
        }
    }
    println!("{:?}", codecs.stats());
    codecs.stop().await;
}
